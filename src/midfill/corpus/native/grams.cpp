#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_grams(nb::module_& m) { (void)m; }
