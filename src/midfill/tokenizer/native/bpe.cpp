#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_bpe(nb::module_& m) { (void)m; }
