// Single kernels, for tests and benchmarks, and what there is to set: level and threads.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <stdexcept>
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
  std::lock_guard<std::mutex> turn(Pool::shared().turn);
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

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// Query rows against pages of tokens; without `values`, keys are plain rows that hold them too.
void attend(Array2<const uint16_t> q, Array2<const uint16_t> keys, std::optional<Array2<const uint16_t>> values,
            int pairs, float scale, Array1<const int32_t> seen, Array1<float> top, Array1<float> sum,
            Array2<float> value) {
  const int rows = static_cast<int>(q.shape(0)), pages = static_cast<int>(keys.shape(0));
  const int width = static_cast<int>(value.shape(1)), stride = static_cast<int>(keys.shape(1)) / PAGE;
  require(pages <= SPLIT / PAGE && width % 16 == 0, "at most four pages, and a width of whole sixteens");
  require(seen.size() == q.shape(0) && top.size() == q.shape(0) && sum.size() == q.shape(0) &&
              value.shape(0) == q.shape(0), "seen, top, sum and value have one row for each query");
  require(2 * pairs <= static_cast<int>(q.shape(1)), "a query is shorter than its pairs");
  require(static_cast<int>(keys.shape(1)) == stride * PAGE && stride >= 2 * pairs, "a page holds 64 keys");
  if (values)
    require(stride == 2 * pairs && values->shape(0) == keys.shape(0) &&
                static_cast<int>(values->shape(1)) == PAGE * width, "keys and values are those of the same pages");
  else
    require(stride % 32 == 0 && pairs % 16 == 0 && width <= stride, "plain rows are a multiple of 32 wide");
  std::vector<const uint16_t*> key_pages, value_pages;
  for (int i = 0; i < pages; i++) {
    key_pages.push_back(keys.data() + i * keys.shape(1));
    value_pages.push_back(values ? values->data() + i * values->shape(1) : nullptr);
  }
  for (int r = 0; r < rows; r++)
    require(seen.data()[r] >= 0 && seen.data()[r] <= pages * PAGE, "a query sees more tokens than there are");
  std::vector<uint16_t> turned(static_cast<size_t>(PAGE) * width);
  std::vector<float> scratch(attention_scratch(rows));
  Attention a;
  a.q = q.data();
  a.rows = rows;
  a.q_stride = static_cast<int>(q.shape(1));
  a.pairs = pairs;
  a.key_stride = values ? 0 : stride;
  a.scale = scale;
  a.seen = seen.data();
  a.keys = key_pages.data();
  a.values = value_pages.data();
  a.turned = turned.data();
  a.pages = pages;
  a.scratch = scratch.data();
  kernels().attend(a, {top.data(), sum.data(), value.data(), width});
}

// The results of two splits, row by row; the first ones become both together.
void combine(Array1<float> top, Array1<float> sum, Array2<float> value, Array1<const float> top2,
             Array1<const float> sum2, Array2<const float> value2, bool first) {
  const size_t rows = value.shape(0), width = value.shape(1);
  require(width % 16 == 0 && value2.shape(0) == rows && value2.shape(1) == width && top.size() == rows &&
              sum.size() == rows && top2.size() == rows && sum2.size() == rows, "sizes differ");
  for (size_t r = 0; r < rows; r++)
    kernels().combine(top.data() + r, sum.data() + r, value.data() + r * width, top2.data()[r], sum2.data()[r],
                      value2.data() + r * width, static_cast<int>(width), first);
}

void latent_write8(Array1<const float> x, Array1<int8_t> q, Array1<uint16_t> scales) {
  require(x.size() % 32 == 0 && q.size() == x.size() && scales.size() == x.size() / 32,
          "x and q hold a multiple of 32 numbers, scales one for every 32");
  kernels().latent_write8(x.data(), static_cast<int>(x.size()), q.data(), scales.data());
}

void latent_read8(Array1<const int8_t> q, Array1<const uint16_t> scales, Array1<uint16_t> out) {
  require(q.size() % 32 == 0 && out.size() == q.size() && scales.size() == q.size() / 32,
          "q and out hold a multiple of 32 numbers, scales one for every 32");
  kernels().latent_read8(q.data(), scales.data(), static_cast<int>(q.size()), out.data());
}

// A page of latents [64][stride] as keys and values of one head; the head's values begin at row
// 16 * first_panel of the packed matrix.
void expand_page(Array2<const uint16_t> rows, int rope, Array2<const uint16_t> k_weight, int v_rows,
                 Array1<const uint8_t> v_packed, int first_panel, Array1<uint16_t> keys, Array1<uint16_t> values) {
  const int stride = static_cast<int>(rows.shape(1)), latent = static_cast<int>(k_weight.shape(1));
  const int key_width = static_cast<int>(k_weight.shape(0)), value_width = static_cast<int>(values.size()) / PAGE;
  require(rows.shape(0) == PAGE && stride % 32 == 0 && latent + rope <= stride, "a page is 64 rows of latent and key");
  require(latent % 16 == 0 && rope % 2 == 0 && key_width % 2 == 0 && value_width % 16 == 0, "odd widths");
  require(keys.size() == static_cast<size_t>(PAGE) * (key_width + rope) &&
              values.size() == static_cast<size_t>(PAGE) * value_width, "keys or values have a wrong size");
  require(v_packed.size() == packed_bytes(Kind::BF16, v_rows, latent) && first_panel >= 0 &&
              16 * first_panel + value_width <= v_rows, "the values' matrix has a wrong size");
  std::vector<uint16_t> latent_keys(static_cast<size_t>(PAGE) * (latent + rope));
  Matrix w;
  w.kind = Kind::BF16;
  w.rows = v_rows;
  w.cols = latent;
  w.data = v_packed.data();
  kernels().expand_page(rows.data(), stride, latent, rope, k_weight.data(), key_width, w, first_panel, value_width,
                        latent_keys.data(), keys.data(), values.data());
}

}  // namespace

void bind_kernels(nb::module_& m) {
  m.def("set_level", [](std::optional<std::string> name) {
    nb::gil_scoped_release release;
    std::lock_guard<std::mutex> turn(Pool::shared().turn);
    return std::string(set_level(name ? name->c_str() : nullptr));
  }, "name"_a.none() = nb::none(), "Take the named instruction set, or the best one; returns its name.");
  m.def("level", [] { return std::string(kernels().name); });
  m.def("set_threads", [](int n) {
    if (n < 1 || n > 1024) throw std::invalid_argument("threads must be between 1 and 1024");
    nb::gil_scoped_release release;
    std::lock_guard<std::mutex> turn(Pool::shared().turn);
    Pool::shared().resize(n);
  });
  m.def("threads", [] {
    nb::gil_scoped_release release;
    std::lock_guard<std::mutex> turn(Pool::shared().turn);
    return Pool::shared().threads();
  });
  m.def("linear", &linear, "x"_a, "kind"_a, "rows"_a, "cols"_a, "packed"_a, "out"_a);
  m.def("quantise", &quantise, "x"_a, "q"_a, "scale"_a);
  m.def("rms_norm", &rms_norm, "x"_a, "weight"_a, "eps"_a, "out"_a);
  m.def("swiglu", &swiglu, "gate"_a, "up"_a, "out"_a);
  m.def("attend", &attend, "q"_a, "keys"_a, "values"_a.none(), "pairs"_a, "scale"_a, "seen"_a, "top"_a, "sum"_a,
        "value"_a);
  m.def("combine", &combine, "top"_a, "sum"_a, "value"_a, "top2"_a, "sum2"_a, "value2"_a, "first"_a);
  m.def("latent_write8", &latent_write8, "x"_a, "q"_a, "scales"_a);
  m.def("latent_read8", &latent_read8, "q"_a, "scales"_a, "out"_a);
  m.def("expand_page", &expand_page, "rows"_a, "rope"_a, "k_weight"_a, "v_rows"_a, "v_packed"_a, "first_panel"_a,
        "keys"_a, "values"_a);
}
