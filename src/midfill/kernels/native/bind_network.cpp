// Network for Python. Arrays that are given stay Python's: the caller keeps them alive.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

#include "network.h"
#include "pool.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace midfill;

namespace {

template <class T> using Array1 = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Array2 = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
void take(const nb::dict& from, const char* name, T& to) {
  if (from.contains(name)) to = nb::cast<T>(from[name]);
}

Shape shape_of(const nb::dict& d) {
  Shape s;
  take(d, "vocab", s.vocab);
  take(d, "dim", s.dim);
  take(d, "layers", s.layers);
  take(d, "norm_eps", s.norm_eps);
  take(d, "latent", s.latent);
  take(d, "heads", s.heads);
  take(d, "scale", s.scale);
  take(d, "rope_pairs", s.rope_pairs);
  take(d, "rope_magnitude", s.rope_magnitude);
  take(d, "kv_heads", s.kv_heads);
  take(d, "head_dim", s.head_dim);
  take(d, "q_rank", s.q_rank);
  take(d, "kv_rank", s.kv_rank);
  take(d, "nope", s.nope);
  take(d, "rope", s.rope);
  take(d, "value", s.value);
  take(d, "latent_eps", s.latent_eps);
  take(d, "experts", s.experts);
  take(d, "top_k", s.top_k);
  take(d, "groups", s.groups);
  take(d, "top_groups", s.top_groups);
  take(d, "norm_top_k", s.norm_top_k);
  take(d, "group_limited", s.group_limited);
  take(d, "route_scale", s.route_scale);
  return s;
}

Matrix matrix_of(int kind, int rows, int cols, const Array1<const uint8_t>& data, int count, size_t stride) {
  if (kind < 0 || kind >= static_cast<int>(Kind::COUNT)) throw std::invalid_argument("no such kind");
  Matrix m;
  m.kind = static_cast<Kind>(kind);
  m.rows = rows;
  m.cols = cols;
  m.data = data.data();
  if (data.size() < stride * (count - 1) + packed_bytes(m.kind, rows, cols))
    throw std::invalid_argument("the array is smaller than the matrix");
  return m;
}

// tokens: ids of all spans in a row. spans: [n][rows, start, expanded, wanted, pages]. tables: the
// page numbers of all spans in a row. logits: [wanted][vocabulary rounded up to 16].
void step(Network& network, int page_count, Array1<const int32_t> tokens, Array2<const int32_t> spans,
          Array1<const int32_t> tables, Array2<float> logits) {
  if (spans.shape(1) != 5) throw std::invalid_argument("a span has five numbers");
  std::vector<SpanIn> all;
  size_t rows = 0, pages = 0, wanted = 0;
  for (size_t i = 0; i < spans.shape(0); i++) {
    const int32_t* s = spans.data() + 5 * i;
    if (s[0] < 1 || s[1] < 0 || s[3] < 0 || s[3] > s[0] || s[4] < 1 || pages + s[4] > tables.size())
      throw std::invalid_argument("a span does not fit its tables");
    if ((static_cast<int64_t>(s[1]) + s[0] + PAGE - 1) / PAGE > s[4])
      throw std::invalid_argument("the pages of a span do not cover its tokens");
    all.push_back({s[0], s[1], s[2], s[3], tables.data() + pages, s[4]});
    rows += s[0];
    pages += s[4];
    wanted += s[3];
  }
  for (size_t i = 0; i < tables.size(); i++)
    if (tables.data()[i] < 0 || tables.data()[i] >= page_count)
      throw std::invalid_argument("there is no such page");
  if (rows != tokens.size() || wanted != logits.shape(0))
    throw std::invalid_argument("tokens or logits do not fit the spans");
  nb::gil_scoped_release release;
  std::lock_guard<std::mutex> turn(Pool::shared().turn);
  network.step(tokens.data(), all, logits.data());
}

}  // namespace

void bind_network(nb::module_& m) {
  nb::class_<Network>(m, "Network")
      .def("__init__", [](Network* self, const nb::dict& shape) { new (self) Network(shape_of(shape)); })
      .def("set", [](Network& self, const std::string& name, int layer, int kind, int rows, int cols,
                     Array1<const uint8_t> data, std::optional<Array1<const float>> bias) {
        Matrix w = matrix_of(kind, rows, cols, data, 1, 0);
        if (bias) {
          if (static_cast<int>(bias->size()) < (rows + PANEL - 1) / PANEL * PANEL)
            throw std::invalid_argument("a bias is padded to whole panels");
          w.bias = bias->data();
        }
        self.set(name, layer, w);
      }, "name"_a, "layer"_a, "kind"_a, "rows"_a, "cols"_a, "data"_a, "bias"_a.none() = nb::none())
      .def("set_array", [](Network& self, const std::string& name, int layer, Array1<const float> values) {
        self.set_array(name, layer, values.data());
      })
      .def("set_k_expand", [](Network& self, int layer, Array1<const uint16_t> values) {
        self.set_k_expand(layer, values.data());
      })
      .def("set_experts", [](Network& self, int layer, int count, int gu_kind, int gu_rows, int gu_cols,
                             size_t gu_stride, Array1<const uint8_t> gu, int d_kind, int d_rows,
                             int d_cols, size_t d_stride, Array1<const uint8_t> d) {
        self.set_experts(layer, matrix_of(gu_kind, gu_rows, gu_cols, gu, count, gu_stride), gu_stride,
                         matrix_of(d_kind, d_rows, d_cols, d, count, d_stride), d_stride);
      })
      .def("page_bytes", &Network::page_bytes)
      .def("set_pages", [](Network& self, Array2<uint8_t> memory, bool int8) {
        if (memory.shape(1) != self.page_bytes(int8)) throw std::invalid_argument("pages have another size");
        self.set_pages({memory.data(), static_cast<int>(memory.shape(0)), int8});
      })
      .def("step", &step)
      .def("rotate", [](Network& self, int page_count, Array1<const int32_t> pages, int by) {
        for (size_t i = 0; i < pages.size(); i++)
          if (pages.data()[i] < 0 || pages.data()[i] >= page_count)
            throw std::invalid_argument("there is no such page");
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> turn(Pool::shared().turn);
        self.rotate(pages.data(), static_cast<int>(pages.size()), by);
      });
}
