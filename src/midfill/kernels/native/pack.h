// GGUF blocks to panels and back. See formats.h for the layouts.
#pragma once
#include "formats.h"

namespace midfill {

// Packs `rows` rows of a GGUF tensor, row i taken from row source_row[i] (null: i). `out` has
// packed_bytes(kind, rows, cols) bytes. cols must be a multiple of the source block.
void pack(Kind kind, const uint8_t* raw, const int32_t* source_row, int rows, int cols, uint8_t* out);

// The inverse for `rows` rows, to GGUF blocks (F32/F16/BF16: plain numbers).
void unpack(Kind kind, const uint8_t* packed, int rows, int cols, uint8_t* raw);

// Row `row` of a packed matrix as float32 [cols]: the embedding is read this way.
void read_row(Kind kind, const uint8_t* packed, int row, int cols, float* out);

// How many numbers of a plain matrix, or scales of a quantised one, are NaN or infinite.
size_t count_nonfinite(Kind kind, const uint8_t* packed, int rows, int cols);

}  // namespace midfill
