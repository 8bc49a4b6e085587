// midfill.kernels._native: the door from Python. Each bind_*.cpp adds its part.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_pack(nb::module_& m);
void bind_kernels(nb::module_& m);
void bind_network(nb::module_& m);

NB_MODULE(_native, m) {
  m.doc() = "Processor kernels of midfill; see midfill.kernels.cpu.";
  bind_pack(m);
  bind_kernels(m);
  bind_network(m);
}
