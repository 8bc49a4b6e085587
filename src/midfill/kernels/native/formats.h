// How matrices lie in memory for the kernels: the numbers of a GGUF file in another order, nothing
// rounded. A matrix [rows, cols] is cut into panels of 16 rows; a panel is a row of blocks along the
// columns. Inside a block one 64-byte vector holds 4 consecutive columns of all 16 rows, so that one
// dot-product instruction serves 16 outputs. Missing rows of the last panel are zero.
//
// "Run" r of a block of 32 columns is columns 4r .. 4r+3; its byte 4*row + j is column 4r + j.
#pragma once
#include <cstddef>
#include <cstdint>

namespace midfill {

constexpr int PANEL = 16;  // rows

enum class Kind : int {
  F32,   // 1 column:  float[16]
  F16,   // 2 columns: half[16][2]
  BF16,  // 2 columns: bfloat16[16][2]
  Q8_0,  // 32 columns: half d[16] | 8 runs of bytes, value + 128
  Q4_0,  // 32 columns: half d[16] | 4 x 64 bytes: run r in the low, run r + 4 in the high nibbles
  Q4_1,  // 32 columns: half d[16] | half m[16] | nibbles as Q4_0
  Q5_0,  // 32 columns: half d[16] | nibbles | 8 runs x 8 bytes: bit 4*row + j is the fifth bit
  Q5_1,  // 32 columns: half d[16] | half m[16] | nibbles | fifth bits
  Q4_K,  // 256 columns: half d[16] | half dmin[16] | 8 x (scale u8[16] | min u8[16] | nibbles)
  Q5_K,  // 256 columns: half d[16] | half dmin[16] | 8 x (scale | min | nibbles | fifth bits)
  Q6_K,  // 256 columns: half d[16] | 8 x (scale i8[2][16] | nibbles | 2 x 64 bytes: run r's upper
         //   two bits at 2 * (r % 4) of byte 4*row + j of the half r / 4)
  Q2_K,  // 256 columns: half d[16] | half dmin[16] | 8 x (scale u8[2][16] | min u8[2][16] | two-bit
         //   values in 2 x 64 bytes as the upper bits of Q6_K)
  Q3_K,  // 256 columns: half d[16] | 8 x (scale i8[2][16] (32 taken off) | two low bits in 2 x 64
         //   bytes | 8 runs x 8 bytes of third bits); value = low + 4 * third - 4
  COUNT,
};

struct Format {
  const char* name;  // GGUF's
  int cols;          // columns of a block
  int bytes;         // bytes of a block of 16 rows
  int source_cols;   // columns of a block of one row in a GGUF file
  int source_bytes;
  bool integer;      // multiplied with int8 activations
};

constexpr Format FORMATS[] = {
    {"F32", 1, 64, 1, 4, false},          {"F16", 2, 64, 1, 2, false},
    {"BF16", 2, 64, 1, 2, false},         {"Q8_0", 32, 544, 32, 34, true},
    {"Q4_0", 32, 288, 32, 18, true},      {"Q4_1", 32, 320, 32, 20, true},
    {"Q5_0", 32, 352, 32, 22, true},      {"Q5_1", 32, 384, 32, 24, true},
    {"Q4_K", 256, 2368, 256, 144, true},  {"Q5_K", 256, 2880, 256, 176, true},
    {"Q6_K", 256, 3360, 256, 210, true},  {"Q2_K", 256, 1600, 256, 84, true},
    {"Q3_K", 256, 1824, 256, 110, true},
};

inline const Format& format(Kind kind) { return FORMATS[static_cast<int>(kind)]; }
inline size_t panel_bytes(Kind kind, int cols) {
  const Format& f = format(kind);
  return static_cast<size_t>((cols + f.cols - 1) / f.cols) * f.bytes;
}
inline size_t packed_bytes(Kind kind, int rows, int cols) {
  return static_cast<size_t>((rows + PANEL - 1) / PANEL) * panel_bytes(kind, cols);
}

// One matrix in memory that somebody else owns.
struct Matrix {
  Kind kind = Kind::F32;
  int rows = 0, cols = 0;
  const uint8_t* data = nullptr;
  const float* bias = nullptr;  // [rows] or none
  size_t panel_stride() const { return panel_bytes(kind, cols); }
};

}  // namespace midfill
