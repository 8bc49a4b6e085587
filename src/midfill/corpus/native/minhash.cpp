#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_minhash(nb::module_& m) { (void)m; }
