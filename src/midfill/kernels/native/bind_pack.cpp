// Packing for Python. Arrays are checked here, once; the functions behind trust their arguments.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <string>

#include "pack.h"

#include <nanobind/stl/optional.h>

namespace nb = nanobind;
using namespace nb::literals;
using midfill::Kind;

namespace {

template <class T, class... Shape>
using Array = nb::ndarray<T, Shape..., nb::c_contig, nb::device::cpu>;
using Bytes = Array<const uint8_t, nb::ndim<1>>;
using OutBytes = Array<uint8_t, nb::ndim<1>>;
using Ids = Array<const int32_t, nb::ndim<1>>;
using OutFloats = Array<float, nb::ndim<2>>;

[[noreturn]] void refuse(const std::string& why) { throw nb::value_error(why.c_str()); }

// The kind, once the shape is known to fit it.
Kind checked(int kind, int64_t rows, int64_t cols) {
  if (kind < 0 || kind >= static_cast<int>(Kind::COUNT))
    refuse("there is no kind " + std::to_string(kind));
  const midfill::Format& f = midfill::FORMATS[kind];
  if (rows < 0 || cols < 0 || rows > INT32_MAX - midfill::PANEL || cols > INT32_MAX - 256)
    refuse("a matrix of " + std::to_string(rows) + " x " + std::to_string(cols) + " is impossible");
  if (cols % f.source_cols)
    refuse(std::to_string(cols) + " columns are no multiple of " + f.name + "'s block of " +
           std::to_string(f.source_cols));
  return static_cast<Kind>(kind);
}

size_t plain_bytes(Kind kind, int64_t rows, int64_t cols) {
  const midfill::Format& f = midfill::format(kind);
  return static_cast<size_t>(rows) * (cols / f.source_cols) * f.source_bytes;
}

void check_size(const char* what, size_t has, size_t needs) {
  if (has != needs)
    refuse(std::string(what) + " has " + std::to_string(has) + " bytes and should have " +
           std::to_string(needs));
}

// Raises unless all `ids` name one of `rows` rows.
void check_ids(const char* what, const Ids& ids, size_t rows) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids.data()[i] < 0 || static_cast<size_t>(ids.data()[i]) >= rows)
      refuse(std::string(what) + "[" + std::to_string(i) + "] is " +
             std::to_string(ids.data()[i]) + ", and there are " + std::to_string(rows) + " rows");
}

void pack(int kind, Bytes raw, std::optional<Ids> source_rows, int64_t rows, int64_t cols,
          OutBytes out) {
  const Kind k = checked(kind, rows, cols);
  check_size("out", out.size(), midfill::packed_bytes(k, rows, cols));
  const int32_t* order = nullptr;
  if (source_rows) {
    if (source_rows->size() != static_cast<size_t>(rows))
      refuse("source_rows has " + std::to_string(source_rows->size()) + " entries and should have " +
             std::to_string(rows));
    const size_t per_row = plain_bytes(k, 1, cols);
    check_ids("source_rows", *source_rows, per_row ? raw.size() / per_row : 0);
    order = source_rows->data();
  } else {
    check_size("raw", raw.size(), plain_bytes(k, rows, cols));
  }
  nb::gil_scoped_release release;
  midfill::pack(k, raw.data(), order, rows, cols, out.data());
}

void unpack(int kind, Bytes packed, int64_t rows, int64_t cols, OutBytes out) {
  const Kind k = checked(kind, rows, cols);
  check_size("packed", packed.size(), midfill::packed_bytes(k, rows, cols));
  check_size("out", out.size(), plain_bytes(k, rows, cols));
  nb::gil_scoped_release release;
  midfill::unpack(k, packed.data(), rows, cols, out.data());
}

void read_rows(int kind, Bytes packed, int64_t rows, int64_t cols, Ids ids, OutFloats out) {
  const Kind k = checked(kind, rows, cols);
  check_size("packed", packed.size(), midfill::packed_bytes(k, rows, cols));
  check_ids("ids", ids, rows);
  if (out.shape(0) != ids.size() || out.shape(1) != static_cast<size_t>(cols))
    refuse("out should have the shape [" + std::to_string(ids.size()) + ", " +
           std::to_string(cols) + "]");
  nb::gil_scoped_release release;
  for (size_t i = 0; i < ids.size(); ++i)
    midfill::read_row(k, packed.data(), ids.data()[i], cols, out.data() + i * cols);
}

size_t packed_bytes(int kind, int64_t rows, int64_t cols) {
  return midfill::packed_bytes(checked(kind, rows, cols), rows, cols);
}

size_t count_nonfinite(int kind, Bytes packed, int64_t rows, int64_t cols) {
  const Kind k = checked(kind, rows, cols);
  check_size("packed", packed.size(), midfill::packed_bytes(k, rows, cols));
  nb::gil_scoped_release release;
  return midfill::count_nonfinite(k, packed.data(), rows, cols);
}

}  // namespace

void bind_pack(nb::module_& m) {
  nb::dict kinds;
  for (int i = 0; i < static_cast<int>(Kind::COUNT); ++i) kinds[midfill::FORMATS[i].name] = i;
  m.attr("KINDS") = kinds;
  m.def("pack", &pack, "kind"_a, "raw"_a, "source_rows"_a.none(), "rows"_a, "cols"_a,
        "out"_a.noconvert(), "GGUF blocks (or plain numbers) into panels; row i from source_rows[i].");
  m.def("unpack", &unpack, "kind"_a, "packed"_a, "rows"_a, "cols"_a, "out"_a.noconvert(),
        "Panels back into the bytes they were packed from.");
  m.def("read_rows", &read_rows, "kind"_a, "packed"_a, "rows"_a, "cols"_a, "ids"_a,
        "out"_a.noconvert(), "Rows `ids` of a packed matrix as float32 [ids, cols].");
  m.def("packed_bytes", &packed_bytes, "kind"_a, "rows"_a, "cols"_a, "Bytes of a packed matrix.");
  m.def("count_nonfinite", &count_nonfinite, "kind"_a, "packed"_a, "rows"_a, "cols"_a,
        "How many numbers (of a quantised matrix: scales) are NaN or infinite.");
}
