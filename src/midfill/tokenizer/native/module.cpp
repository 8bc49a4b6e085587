// midfill.tokenizer._native: byte-level BPE at the speed of memory; see midfill.tokenizer.fast.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_bpe(nb::module_& m);

NB_MODULE(_native, m) {
  m.doc() = "Byte-level BPE of midfill.tokenizer.";
  bind_bpe(m);
}
