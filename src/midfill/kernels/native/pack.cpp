// GGUF blocks to panels and back: every kind moves the block of one row into its places in the block
// of 16 rows, four columns (one 32-bit word) at a time. Bytes are little-endian, as in the files.
#include "pack.h"

#include <algorithm>
#include <cstring>

namespace midfill {
namespace {

using u8 = uint8_t;

constexpr uint32_t LOW4 = 0x0f0f0f0f, HIGH4 = 0xf0f0f0f0, LOW2 = 0x03030303, LOW1 = 0x01010101;
constexpr int HALVES = 2 * PANEL;       // bytes of one half per row
constexpr int VECTOR = 4 * PANEL;       // bytes of one run
constexpr int NIBBLES = 4 * VECTOR;     // bytes of 32 columns of four bits
constexpr int PAIRS = 2 * VECTOR;       // ... of two bits
constexpr int SINGLES = 8 * PANEL / 2;  // ... of one bit

template <class T>
T load(const u8* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
void store(u8* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

float half_to_float(const u8* at) {
  const uint32_t half = load<uint16_t>(at);
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  uint32_t bits;
  if (exponent == 0) {  // zero and subnormal: a multiple of 2^-24, exact in float
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    std::memcpy(&bits, &value, sizeof bits);
    bits |= sign;
  } else if (exponent == 31) {
    bits = sign | 0x7f800000u | fraction << 13;
  } else {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  }
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The lowest bits of the four bytes of a word, side by side; and back.
uint64_t gather_bits(uint32_t word) { return (word | word >> 7 | word >> 14 | word >> 21) & 15; }
uint32_t spread_bits(uint64_t bits) {
  const uint32_t word = static_cast<uint32_t>(bits & 15);
  return (word | word << 7 | word << 14 | word << 21) & LOW1;
}

void move_half(const u8* from, u8* halves, int row) { std::memcpy(halves + 2 * row, from, 2); }
void fetch_half(const u8* halves, u8* to, int row) { std::memcpy(to, halves + 2 * row, 2); }

// 16 bytes, byte j with column j in its low and column j + 16 in its high half: the same in both.
void move_nibbles(const u8* from, u8* to, int row) {
  for (int r = 0; r < 4; ++r) std::memcpy(to + VECTOR * r + 4 * row, from + 4 * r, 4);
}
void fetch_nibbles(const u8* from, u8* to, int row) {
  for (int r = 0; r < 4; ++r) std::memcpy(to + 4 * r, from + VECTOR * r + 4 * row, 4);
}

// The four fifth (or third) bits of run r of one row. `to` begins as zero.
void put_bits(u8* to, int r, int row, uint64_t bits) {
  store<uint64_t>(to + 8 * r, load<uint64_t>(to + 8 * r) | bits << 4 * row);
}
uint64_t get_bits(const u8* from, int r, int row) {
  return load<uint64_t>(from + 8 * r) >> 4 * row & 15;
}

// 32 fifth bits as a word, bit c for column c.
void move_fifths(const u8* from, u8* to, int row) {
  const uint32_t bits = load<uint32_t>(from);
  for (int r = 0; r < 8; ++r) put_bits(to, r, row, bits >> 4 * r & 15);
}
void fetch_fifths(const u8* from, u8* to, int row) {
  uint32_t bits = 0;
  for (int r = 0; r < 8; ++r) bits |= static_cast<uint32_t>(get_bits(from, r, row)) << 4 * r;
  store(to, bits);
}

// Two bits of each of 32 columns, at bit 2k of 32 bytes in the file.
void move_pairs(const u8* from, int k, u8* to, int row) {
  for (int half = 0; half < 2; ++half) {
    uint32_t word = 0;
    for (int r = 0; r < 4; ++r)
      word |= (load<uint32_t>(from + 16 * half + 4 * r) >> 2 * k & LOW2) << 2 * r;
    store(to + VECTOR * half + 4 * row, word);
  }
}
void fetch_pairs(const u8* from, int row, u8* to, int k) {  // `to` begins as zero
  for (int half = 0; half < 2; ++half) {
    const uint32_t word = load<uint32_t>(from + VECTOR * half + 4 * row);
    for (int r = 0; r < 4; ++r) {
      u8* at = to + 16 * half + 4 * r;
      store(at, load<uint32_t>(at) | (word >> 2 * r & LOW2) << 2 * k);
    }
  }
}

// One bit of each of 32 columns, at bit s of 32 bytes in the file.
void move_singles(const u8* from, int s, u8* to, int row) {
  for (int r = 0; r < 8; ++r)
    put_bits(to, r, row, gather_bits(load<uint32_t>(from + 4 * r) >> s & LOW1));
}
void fetch_singles(const u8* from, int row, u8* to, int s) {  // `to` begins as zero
  for (int r = 0; r < 8; ++r)
    store(to + 4 * r, load<uint32_t>(to + 4 * r) | spread_bits(get_bits(from, r, row)) << s);
}

// ----------------------------------------------------------------------------- blocks of 32 columns

struct Q8_0 {
  static constexpr Kind kind = Kind::Q8_0;
  static void move(const u8* from, u8* to, int row) {
    move_half(from, to, row);
    for (int r = 0; r < 8; ++r)
      store(to + HALVES + VECTOR * r + 4 * row, load<uint32_t>(from + 2 + 4 * r) ^ 0x80808080u);
  }
  static void fetch(const u8* from, u8* to, int row) {
    fetch_half(from, to, row);
    for (int r = 0; r < 8; ++r)
      store(to + 2 + 4 * r, load<uint32_t>(from + HALVES + VECTOR * r + 4 * row) ^ 0x80808080u);
  }
  static void values(const u8* block, float* out) {
    const float d = half_to_float(block);
    for (int c = 0; c < 32; ++c) out[c] = d * static_cast<float>(static_cast<int8_t>(block[2 + c]));
  }
};

// Q4_0, Q4_1, Q5_0 and Q5_1: a scale, perhaps a minimum, nibbles, perhaps fifth bits.
template <Kind K, bool minimum, bool fifths>
struct Simple {
  static constexpr Kind kind = K;
  static constexpr int bits_at = minimum ? 4 : 2, nibbles_at = bits_at + (fifths ? 4 : 0);
  static constexpr int packed_nibbles = HALVES * (minimum ? 2 : 1);
  static void move(const u8* from, u8* to, int row) {
    move_half(from, to, row);
    if (minimum) move_half(from + 2, to + HALVES, row);
    move_nibbles(from + nibbles_at, to + packed_nibbles, row);
    if (fifths) move_fifths(from + bits_at, to + packed_nibbles + NIBBLES, row);
  }
  static void fetch(const u8* from, u8* to, int row) {
    fetch_half(from, to, row);
    if (minimum) fetch_half(from + HALVES, to + 2, row);
    fetch_nibbles(from + packed_nibbles, to + nibbles_at, row);
    if (fifths) fetch_fifths(from + packed_nibbles + NIBBLES, to + bits_at, row);
  }
  static void values(const u8* block, float* out) {
    const float d = half_to_float(block), m = minimum ? half_to_float(block + 2) : 0;
    const uint32_t bits = fifths ? load<uint32_t>(block + bits_at) : 0;
    const int offset = minimum ? 0 : fifths ? 16 : 8;
    for (int c = 0; c < 32; ++c) {
      const u8 pair = block[nibbles_at + c % 16];
      const int q = (c < 16 ? pair & 15 : pair >> 4) | static_cast<int>(bits >> c & 1) << 4;
      const float value = d * static_cast<float>(q - offset);
      out[c] = minimum ? value + m : value;
    }
  }
};

// ---------------------------------------------------------------------------- blocks of 256 columns

// Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes.
void split_scales(const u8* s, u8* scale, u8* minimum) {
  for (int j = 0; j < 4; ++j) {
    scale[j] = s[j] & 63;
    minimum[j] = s[j + 4] & 63;
    scale[j + 4] = (s[j + 8] & 15) | (s[j] >> 6) << 4;
    minimum[j + 4] = (s[j + 8] >> 4) | (s[j + 4] >> 6) << 4;
  }
}
void join_scales(const u8* scale, const u8* minimum, u8* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<u8>(scale[j] | (scale[j + 4] >> 4) << 6);
    s[j + 4] = static_cast<u8>(minimum[j] | (minimum[j + 4] >> 4) << 6);
    s[j + 8] = static_cast<u8>((scale[j + 4] & 15) | (minimum[j + 4] & 15) << 4);
  }
}

// Low nibbles of 32 bytes are one sub-block, high ones another. Here 16 bytes hold one sub-block,
// columns 0-15 low and 16-31 high, so two words make the words of both.
void move_two(const u8* from, u8* low, u8* high, int row) {
  for (int r = 0; r < 4; ++r) {
    const uint32_t a = load<uint32_t>(from + 4 * r), b = load<uint32_t>(from + 16 + 4 * r);
    store(low + VECTOR * r + 4 * row, (a & LOW4) | (b & LOW4) << 4);
    store(high + VECTOR * r + 4 * row, (a >> 4 & LOW4) | (b & HIGH4));
  }
}
void fetch_two(const u8* low, const u8* high, u8* to, int row) {
  for (int r = 0; r < 4; ++r) {
    const uint32_t x = load<uint32_t>(low + VECTOR * r + 4 * row);
    const uint32_t y = load<uint32_t>(high + VECTOR * r + 4 * row);
    store(to + 4 * r, (x & LOW4) | (y & LOW4) << 4);
    store(to + 16 + 4 * r, (x >> 4 & LOW4) | (y & HIGH4));
  }
}

template <Kind K, bool fifths>
struct Large {  // Q4_K, Q5_K
  static constexpr Kind kind = K;
  static constexpr int bits_at = 16, nibbles_at = bits_at + (fifths ? 32 : 0);
  static constexpr int stride = 2 * PANEL + NIBBLES + (fifths ? SINGLES : 0);
  static constexpr int nibbles = 2 * PANEL;  // of a sub-block, where they begin
  static void move(const u8* from, u8* to, int row) {
    move_half(from, to, row);
    move_half(from + 2, to + HALVES, row);
    u8 scale[8], minimum[8], *subs = to + 2 * HALVES;
    split_scales(from + 4, scale, minimum);
    for (int s = 0; s < 8; ++s) {
      u8* sub = subs + s * stride;
      sub[row] = scale[s];
      sub[PANEL + row] = minimum[s];
      if (fifths) move_singles(from + bits_at, s, sub + nibbles + NIBBLES, row);
      if (s % 2 == 0)
        move_two(from + nibbles_at + 16 * s, sub + nibbles, sub + stride + nibbles, row);
    }
  }
  static void fetch(const u8* from, u8* to, int row) {
    fetch_half(from, to, row);
    fetch_half(from + HALVES, to + 2, row);
    u8 scale[8], minimum[8];
    const u8* subs = from + 2 * HALVES;
    for (int s = 0; s < 8; ++s) {
      const u8* sub = subs + s * stride;
      scale[s] = sub[row];
      minimum[s] = sub[PANEL + row];
      if (fifths) fetch_singles(sub + nibbles + NIBBLES, row, to + bits_at, s);
      if (s % 2 == 0)
        fetch_two(sub + nibbles, sub + stride + nibbles, to + nibbles_at + 16 * s, row);
    }
    join_scales(scale, minimum, to + 4);
  }
  static void values(const u8* block, float* out) {
    const float d = half_to_float(block), dmin = half_to_float(block + 2);
    u8 scale[8], minimum[8];
    split_scales(block + 4, scale, minimum);
    for (int s = 0; s < 8; ++s) {
      const float a = d * static_cast<float>(scale[s]), b = dmin * static_cast<float>(minimum[s]);
      const u8* pairs = block + nibbles_at + 32 * (s / 2);
      for (int c = 0; c < 32; ++c) {
        int q = s % 2 ? pairs[c] >> 4 : pairs[c] & 15;
        if (fifths) q |= (block[bits_at + c] >> s & 1) << 4;
        out[32 * s + c] = a * static_cast<float>(q) - b;
      }
    }
  }
};

struct Q6_K {
  static constexpr Kind kind = Kind::Q6_K;
  static constexpr int pairs_at = 128, scales_at = 192, d_at = 208;
  static constexpr int nibbles = 2 * PANEL, stride = nibbles + NIBBLES + PAIRS;
  static void move(const u8* from, u8* to, int row) {
    move_half(from + d_at, to, row);
    for (int s = 0; s < 8; ++s) {
      u8* sub = to + HALVES + s * stride;
      sub[row] = from[scales_at + 2 * s];
      sub[PANEL + row] = from[scales_at + 2 * s + 1];
      if (s % 4 < 2)
        move_two(from + 64 * (s / 4) + 32 * (s % 2), sub + nibbles, sub + 2 * stride + nibbles, row);
      move_pairs(from + pairs_at + 32 * (s / 4), s % 4, sub + nibbles + NIBBLES, row);
    }
  }
  static void fetch(const u8* from, u8* to, int row) {
    fetch_half(from, to + d_at, row);
    for (int s = 0; s < 8; ++s) {
      const u8* sub = from + HALVES + s * stride;
      to[scales_at + 2 * s] = sub[row];
      to[scales_at + 2 * s + 1] = sub[PANEL + row];
      if (s % 4 < 2)
        fetch_two(sub + nibbles, sub + 2 * stride + nibbles, to + 64 * (s / 4) + 32 * (s % 2), row);
      fetch_pairs(sub + nibbles + NIBBLES, row, to + pairs_at + 32 * (s / 4), s % 4);
    }
  }
  static void values(const u8* block, float* out) {
    const float d = half_to_float(block + d_at);
    for (int c = 0; c < 256; ++c) {
      const int half = c / 128, k = c / 32 % 4, l = c % 32;
      const float scale = d * static_cast<float>(static_cast<int8_t>(block[scales_at + c / 16]));
      const u8 pair = block[64 * half + 32 * (k % 2) + l];
      const int low = k < 2 ? pair & 15 : pair >> 4;
      const int high = block[pairs_at + 32 * half + l] >> 2 * k & 3;
      out[c] = scale * static_cast<float>((low | high << 4) - 32);
    }
  }
};

struct Q2_K {
  static constexpr Kind kind = Kind::Q2_K;
  static constexpr int pairs_at = 16, d_at = 80;
  static constexpr int pairs = 4 * PANEL, stride = pairs + PAIRS;
  static void move(const u8* from, u8* to, int row) {
    move_half(from + d_at, to, row);
    move_half(from + d_at + 2, to + HALVES, row);
    for (int s = 0; s < 8; ++s) {
      u8* sub = to + 2 * HALVES + s * stride;
      for (int g = 0; g < 2; ++g) {
        sub[PANEL * g + row] = from[2 * s + g] & 15;
        sub[PANEL * (2 + g) + row] = from[2 * s + g] >> 4;
      }
      move_pairs(from + pairs_at + 32 * (s / 4), s % 4, sub + pairs, row);
    }
  }
  static void fetch(const u8* from, u8* to, int row) {
    fetch_half(from, to + d_at, row);
    fetch_half(from + HALVES, to + d_at + 2, row);
    for (int s = 0; s < 8; ++s) {
      const u8* sub = from + 2 * HALVES + s * stride;
      for (int g = 0; g < 2; ++g)
        to[2 * s + g] = static_cast<u8>(sub[PANEL * g + row] | sub[PANEL * (2 + g) + row] << 4);
      fetch_pairs(sub + pairs, row, to + pairs_at + 32 * (s / 4), s % 4);
    }
  }
  static void values(const u8* block, float* out) {
    const float d = half_to_float(block + d_at), dmin = half_to_float(block + d_at + 2);
    for (int c = 0; c < 256; ++c) {
      const u8 both = block[c / 16];
      const float a = d * static_cast<float>(both & 15), b = dmin * static_cast<float>(both >> 4);
      const int q = block[pairs_at + 32 * (c / 128) + c % 32] >> 2 * (c / 32 % 4) & 3;
      out[c] = a * static_cast<float>(q) - b;
    }
  }
};

struct Q3_K {
  static constexpr Kind kind = Kind::Q3_K;
  static constexpr int pairs_at = 32, scales_at = 96, d_at = 108;
  static constexpr int pairs = 2 * PANEL, stride = pairs + PAIRS + SINGLES;
  static int scale(const u8* block, int g) {  // 4 low bits in 8 bytes, 2 high bits in 4 bytes
    const u8* s = block + scales_at;
    const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    return (low | (s[8 + g % 4] >> 2 * (g / 4) & 3) << 4) - 32;
  }
  static void move(const u8* from, u8* to, int row) {
    move_half(from + d_at, to, row);
    for (int s = 0; s < 8; ++s) {
      u8* sub = to + HALVES + s * stride;
      for (int g = 0; g < 2; ++g) sub[PANEL * g + row] = static_cast<u8>(scale(from, 2 * s + g));
      move_pairs(from + pairs_at + 32 * (s / 4), s % 4, sub + pairs, row);
      move_singles(from, s, sub + pairs + PAIRS, row);
    }
  }
  static void fetch(const u8* from, u8* to, int row) {
    fetch_half(from, to + d_at, row);
    for (int s = 0; s < 8; ++s) {
      const u8* sub = from + HALVES + s * stride;
      for (int g = 0; g < 2; ++g) {
        const int at = 2 * s + g, six = static_cast<int8_t>(sub[PANEL * g + row]) + 32;
        to[scales_at + at % 8] |= static_cast<u8>((six & 15) << (at < 8 ? 0 : 4));
        to[scales_at + 8 + at % 4] |= static_cast<u8>((six >> 4 & 3) << 2 * (at / 4));
      }
      fetch_pairs(sub + pairs, row, to + pairs_at + 32 * (s / 4), s % 4);
      fetch_singles(sub + pairs + PAIRS, row, to, s);
    }
  }
  static void values(const u8* block, float* out) {
    const float d = half_to_float(block + d_at);
    for (int c = 0; c < 256; ++c) {
      const int low = block[pairs_at + 32 * (c / 128) + c % 32] >> 2 * (c / 32 % 4) & 3;
      const int third = block[c % 32] >> (c / 32) & 1;
      const float a = d * static_cast<float>(scale(block, c / 16));
      out[c] = a * static_cast<float>(low + 4 * third - 4);
    }
  }
};

// ------------------------------------------------------------------------------------ whole matrices

size_t row_bytes(Kind kind, int cols) {
  const Format& f = format(kind);
  return static_cast<size_t>(cols / f.source_cols) * f.source_bytes;
}

size_t source(const int32_t* source_row, int row) {
  return static_cast<size_t>(source_row ? source_row[row] : row);
}

// Blocks of a quantised kind.
template <class Q>
struct Blocks {
  static constexpr const Format& f = FORMATS[static_cast<int>(Q::kind)];

  static void pack(const u8* raw, const int32_t* source_row, int rows, int cols, u8* out) {
    const size_t per_row = row_bytes(Q::kind, cols);
    const int blocks = cols / f.cols;
    for (int first = 0; first < rows; first += PANEL) {
      const int here = std::min(PANEL, rows - first);
      const u8* from[PANEL];
      for (int i = 0; i < here; ++i) from[i] = raw + source(source_row, first + i) * per_row;
      for (int b = 0; b < blocks; ++b, out += f.bytes) {
        std::memset(out, 0, f.bytes);
        for (int i = 0; i < here; ++i, from[i - 1] += f.source_bytes) Q::move(from[i], out, i);
      }
    }
  }

  static void unpack(const u8* packed, int rows, int cols, u8* raw) {
    const size_t per_row = row_bytes(Q::kind, cols);
    const int blocks = cols / f.cols;
    std::memset(raw, 0, rows * per_row);
    for (int first = 0; first < rows; first += PANEL)
      for (int b = 0; b < blocks; ++b, packed += f.bytes)
        for (int i = first; i < std::min(first + PANEL, rows); ++i)
          Q::fetch(packed, raw + i * per_row + b * f.source_bytes, i % PANEL);
  }

  static void read(const u8* packed, int row, int cols, float* out) {
    packed += row / PANEL * panel_bytes(Q::kind, cols);
    for (int c = 0; c < cols; c += f.cols, packed += f.bytes) {
      u8 block[f.source_bytes] = {};
      Q::fetch(packed, block, row % PANEL);
      Q::values(block, out + c);
    }
  }
};

// Plain numbers: word w of a row (one float or two halves, the last perhaps alone) goes to block w.
template <Kind K>
struct Plain {
  static constexpr int TILE = 64;  // words of all rows that stay in the first-level cache

  static void pack(const u8* raw, const int32_t* source_row, int rows, int cols, u8* out) {
    const size_t size = row_bytes(K, cols), words = (size + 3) / 4;
    for (int first = 0; first < rows; first += PANEL, out += words * VECTOR) {
      const int here = std::min(PANEL, rows - first);
      if (here < PANEL || size % 4) std::memset(out, 0, words * VECTOR);
      for (size_t tile = 0; tile < words; tile += TILE)
        for (int i = 0; i < here; ++i) {
          const u8* from = raw + source(source_row, first + i) * size;
          const size_t end = std::min(tile + TILE, size / 4);
          for (size_t w = tile; w < end; ++w) std::memcpy(out + w * VECTOR + 4 * i, from + 4 * w, 4);
          if (size % 4 && tile + TILE >= words)
            std::memcpy(out + (words - 1) * VECTOR + 4 * i, from + size - 2, 2);
        }
    }
  }

  static void unpack(const u8* packed, int rows, int cols, u8* raw) {
    const size_t size = row_bytes(K, cols);
    for (int row = 0; row < rows; ++row, raw += size) fetch(packed, row, cols, raw);
  }

  static void fetch(const u8* packed, int row, int cols, u8* raw) {
    const size_t size = row_bytes(K, cols), words = (size + 3) / 4;
    const u8* from = packed + row / PANEL * words * VECTOR + 4 * (row % PANEL);
    for (size_t w = 0; w < size / 4; ++w) std::memcpy(raw + 4 * w, from + w * VECTOR, 4);
    if (size % 4) std::memcpy(raw + size - 2, from + (words - 1) * VECTOR, 2);
  }

  static void read(const u8* packed, int row, int cols, float* out) {
    const size_t words = (row_bytes(K, cols) + 3) / 4;
    const u8* from = packed + row / PANEL * words * VECTOR + 4 * (row % PANEL);
    for (int c = 0; c < cols; ++c) {
      if (K == Kind::F32) {
        std::memcpy(out + c, from + static_cast<size_t>(c) * VECTOR, 4);
        continue;
      }
      const u8* at = from + static_cast<size_t>(c / 2) * VECTOR + 2 * (c % 2);
      if (K == Kind::F16) {
        out[c] = half_to_float(at);
      } else {
        const uint32_t bits = static_cast<uint32_t>(load<uint16_t>(at)) << 16;
        std::memcpy(out + c, &bits, 4);
      }
    }
  }
};

struct Functions {
  void (*pack)(const u8*, const int32_t*, int, int, u8*);
  void (*unpack)(const u8*, int, int, u8*);
  void (*read)(const u8*, int, int, float*);
};

template <class T>
constexpr Functions all() {
  return {T::pack, T::unpack, T::read};
}

constexpr Functions FUNCTIONS[] = {
    all<Plain<Kind::F32>>(),
    all<Plain<Kind::F16>>(),
    all<Plain<Kind::BF16>>(),
    all<Blocks<Q8_0>>(),
    all<Blocks<Simple<Kind::Q4_0, false, false>>>(),
    all<Blocks<Simple<Kind::Q4_1, true, false>>>(),
    all<Blocks<Simple<Kind::Q5_0, false, true>>>(),
    all<Blocks<Simple<Kind::Q5_1, true, true>>>(),
    all<Blocks<Large<Kind::Q4_K, false>>>(),
    all<Blocks<Large<Kind::Q5_K, true>>>(),
    all<Blocks<Q6_K>>(),
    all<Blocks<Q2_K>>(),
    all<Blocks<Q3_K>>(),
};
static_assert(sizeof FUNCTIONS / sizeof *FUNCTIONS == static_cast<size_t>(Kind::COUNT), "a kind lacks");

const Functions& functions(Kind kind) { return FUNCTIONS[static_cast<int>(kind)]; }

}  // namespace

void pack(Kind kind, const u8* raw, const int32_t* source_row, int rows, int cols, u8* out) {
  functions(kind).pack(raw, source_row, rows, cols, out);
}

void unpack(Kind kind, const u8* packed, int rows, int cols, u8* raw) {
  functions(kind).unpack(packed, rows, cols, raw);
}

void read_row(Kind kind, const u8* packed, int row, int cols, float* out) {
  functions(kind).read(packed, row, cols, out);
}

size_t count_nonfinite(Kind kind, const u8* packed, int rows, int cols) {
  const Format& f = format(kind);
  const size_t blocks = packed_bytes(kind, rows, cols) / f.bytes;
  size_t bad = 0;
  if (kind == Kind::F32) {
    for (size_t i = 0; i < blocks * PANEL; ++i)
      bad += (load<uint32_t>(packed + 4 * i) & 0x7f800000u) == 0x7f800000u;
    return bad;
  }
  const uint16_t exponent = kind == Kind::BF16 ? 0x7f80 : 0x7c00;
  const bool two = kind == Kind::Q4_1 || kind == Kind::Q5_1 || kind == Kind::Q4_K ||
                   kind == Kind::Q5_K || kind == Kind::Q2_K || !f.integer;
  const int halves = two ? 2 * PANEL : PANEL;  // plain numbers: the whole block
  for (size_t b = 0; b < blocks; ++b, packed += f.bytes)
    for (int i = 0; i < halves; ++i)
      bad += (load<uint16_t>(packed + 2 * i) & exponent) == exponent;
  return bad;
}

}  // namespace midfill
