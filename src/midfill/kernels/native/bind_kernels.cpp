// Single kernels, for tests and benchmarks, and what there is to set: level and threads.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "kernels.h"
#include "network.h"
#include "pool.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace midfill;

namespace {

template <class T> using Array1 = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Array2 = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// out[M, rows] = x[M, cols] times a packed matrix; threads share the panels.
void linear(Array2<const float> x, int kind, int rows, int cols, Array1<const uint8_t> packed,
            Array2<float> out) {
  Kind k = static_cast<Kind>(kind);
  if (kind < 0 || kind >= static_cast<int>(Kind::COUNT)) throw std::invalid_argument("no such kind");
  if (packed.size() != packed_bytes(k, rows, cols)) throw std::invalid_argument("packed has a wrong size");
  int n = static_cast<int>(x.shape(0)), stride = (cols + 31) / 32 * 32, panels = (rows + PANEL - 1) / PANEL;
  if (static_cast<int>(x.shape(1)) != cols || static_cast<int>(out.shape(0)) != n ||
      static_cast<int>(out.shape(1)) != rows)
    throw std::invalid_argument("x is [M, cols], out is [M, rows]");
  nb::gil_scoped_release release;
  std::vector<float> f(static_cast<size_t>(n) * stride), y(static_cast<size_t>(n) * panels * PANEL);
  std::vector<uint16_t> h(f.size());
  std::vector<int8_t> q(f.size());
  std::vector<float> scale(f.size() / 32);
  std::vector<Group> group(f.size() / 32);
  for (int i = 0; i < n; i++) {
    size_t at = static_cast<size_t>(i) * stride;
    std::copy_n(x.data() + static_cast<size_t>(i) * cols, cols, &f[at]);
    kernels().quantise(&f[at], stride, &q[at], &scale[at / 32], &group[at / 32]);
    kernels().to_bf16(&f[at], stride, &h[at]);
  }
  Rows forms{stride, f.data(), h.data(), q.data(), scale.data(), group.data()};
  Matrix w;
  w.kind = k;
  w.rows = rows;
  w.cols = cols;
  w.data = packed.data();
  Pool::shared().run((panels + 7) / 8, [&](int task, int) {
    int first = 8 * task, last = std::min(panels, first + 8);
    kernels().linear(w, first, last, forms, nullptr, n, y.data() + 16 * first, panels * PANEL);
  });
  for (int i = 0; i < n; i++)
    std::copy_n(&y[static_cast<size_t>(i) * panels * PANEL], rows, out.data() + static_cast<size_t>(i) * rows);
}

void quantise(Array1<const float> x, Array1<int8_t> q, Array1<float> scale) {
  if (x.size() % 32 || q.size() != x.size() || scale.size() != x.size() / 32)
    throw std::invalid_argument("x and q hold a multiple of 32 numbers, scale one for every 32");
  std::vector<Group> group(x.size() / 32);
  kernels().quantise(x.data(), static_cast<int>(x.size()), q.data(), scale.data(), group.data());
}

void rms_norm(Array1<const float> x, Array1<const float> weight, float eps, Array1<float> out) {
  if (weight.size() != x.size() || out.size() != x.size()) throw std::invalid_argument("sizes differ");
  kernels().rms_norm(x.data(), weight.data(), static_cast<int>(x.size()), eps, out.data());
}

void swiglu(Array1<const float> gate, Array1<const float> up, Array1<float> out) {
  if (gate.size() % 16 || up.size() != gate.size() || out.size() != gate.size())
    throw std::invalid_argument("sizes are equal and a multiple of 16");
  kernels().swiglu(gate.data(), up.data(), static_cast<int>(gate.size()), out.data());
}

// The largest of every row, lowest index first: greedy choice.
void argmax(Array2<const float> x, int cols, Array1<int32_t> out) {
  for (size_t i = 0; i < x.shape(0); i++) {
    const float* row = x.data() + i * x.shape(1);
    out.data()[i] = static_cast<int32_t>(std::max_element(row, row + cols) - row);
  }
}

}  // namespace

void bind_kernels(nb::module_& m) {
  m.def("set_level", [](std::optional<std::string> name) {
    return std::string(set_level(name ? name->c_str() : nullptr));
  }, "name"_a.none() = nb::none(), "Take the named instruction set, or the best one; returns its name.");
  m.def("level", [] { return std::string(kernels().name); });
  m.def("set_threads", [](int n) {
    if (n < 1 || n > 1024) throw std::invalid_argument("threads must be between 1 and 1024");
    nb::gil_scoped_release release;
    Pool::shared().resize(n);
  });
  m.def("threads", [] { return Pool::shared().threads(); });
  m.def("linear", &linear, "x"_a, "kind"_a, "rows"_a, "cols"_a, "packed"_a, "out"_a);
  m.def("quantise", &quantise, "x"_a, "q"_a, "scale"_a);
  m.def("rms_norm", &rms_norm, "x"_a, "weight"_a, "eps"_a, "out"_a);
  m.def("swiglu", &swiglu, "gate"_a, "up"_a, "out"_a);
  m.def("argmax", &argmax, "x"_a, "cols"_a, "out"_a);
}
