// midfill.corpus._native: the loops over characters. Each bind_*.cpp adds its part; each function
// has a readable twin in Python, which it must equal.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_text(nb::module_& m);
void bind_minhash(nb::module_& m);
void bind_grams(nb::module_& m);
void bind_code(nb::module_& m);

NB_MODULE(_native, m) {
  m.doc() = "Loops over characters of midfill.corpus.";
  bind_text(m);
  bind_minhash(m);
  bind_grams(m);
  bind_code(m);
}
