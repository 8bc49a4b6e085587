// Products by tiles, for processors with AMX: a part of level.cpp, at the level that has them. A tile is
// 16 rows of 64 bytes; one instruction multiplies 16 rows of activations with a panel's 16 rows of
// weights, 64 bytes of each. Panels lie in memory as these instructions want them.
//
// Whole numbers come out as they do from `Quantised`, to the bit. Sums of bfloat16 run in an order of
// their own, 32 columns at a time, so that at this level every such product goes through tiles, also
// that of one row: only the width decides. Only Intel has AMX, so what passes by once is asked for
// through the second level.
#pragma once

// The shape of the eight tiles: 0 to 3 are sums, 4 and 5 rows of activations, 6 and 7 weights.
struct alignas(64) TileShape {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};  // of a row
  uint8_t rows[16] = {};
  TileShape(int activations, int columns_bytes) {
    for (int tile = 0; tile < 8; tile++) {
      bytes[tile] = static_cast<uint16_t>(tile == 4 || tile == 5 ? columns_bytes : 64);
      rows[tile] = static_cast<uint8_t>(tile < 6 ? activations : columns_bytes / 4);
    }
  }
};

// Tiles for as long as this lives; without it, the processor need not save them.
class Tiles {
 public:
  ~Tiles() { _tile_release(); }
  void shape(int activations, int columns_bytes) {
    if (activations == activations_ && columns_bytes == bytes_) return;
    TileShape shape(activations, columns_bytes);
    _tile_loadconfig(&shape);
    activations_ = activations;
    bytes_ = columns_bytes;
  }

 private:
  int activations_ = 0, bytes_ = 0;
};

// What was written must be in memory before a tile is loaded from there: the compiler does not know
// that the instruction reads it.
INLINE void written() { __asm__ volatile("" ::: "memory"); }

// Memory of this thread, for as long as the thread lives.
struct Room {
  uint8_t* at = nullptr;
  size_t size = 0;
  ~Room() { free(at); }
  uint8_t* of(size_t bytes) {
    if (bytes > size) {
      free(at);
      size = (bytes + 4095) / 4096 * 4096;
      at = static_cast<uint8_t*>(aligned_alloc(4096, size));
      if (at == nullptr) abort();  // a pool thread has nobody to throw to
    }
    return at;
  }
};
thread_local Room room;

// ------------------------------------------------------------------------- quantised products

constexpr int TILE_ROWS = 256;  // rows, and groups of 32 columns, that stay in the caches
constexpr int TILE_GROUPS = 32;

// Some groups of a panel, from a whole block on, as signed bytes [groups][8][64], their scales and
// minimums as [groups][halves][16].
template <Kind K>
void unpack_groups(const uint8_t* panel, int from, int groups, int8_t* values, float* scales, float* minimums) {
  using T = Traits<K>;
  const __m512i zero = _mm512_set1_epi8(static_cast<char>(T::zero == NONE ? 0 : 1 << (T::zero == NONE ? 0 : T::zero)));
  const uint8_t *d = panel + from / T::super * static_cast<size_t>(T::header + T::super * T::group);
  const uint8_t* g = d + T::header;
  for (int at = 0; at < groups; at++) {
    for (int line = 0; line < T::group; line += 64) ask_for<Ask::THROUGH>(g + line);
    int8_t* to = values + 512 * static_cast<size_t>(at);
    auto put = [&](int run, B w) { _mm512_store_si512(to + 64 * run, _mm512_sub_epi8(w.v, zero)); };
    const uint8_t* v = g + T::at;
    put(0, weights<K, 0>(v)), put(1, weights<K, 1>(v)), put(2, weights<K, 2>(v)), put(3, weights<K, 3>(v));
    put(4, weights<K, 4>(v)), put(5, weights<K, 5>(v)), put(6, weights<K, 6>(v)), put(7, weights<K, 7>(v));
    for (int h = 0; h < T::halves; h++) {
      f_store(scales + 16 * (T::halves * at + h), scale_of<K>(d, g, h));
      if constexpr (T::minimum) f_store(minimums + 16 * (T::halves * at + h), minimum_of<K>(d, g, h));
    }
    g += T::group;
    if (T::super > 1 && (at + 1) % T::super == 0) {
      d = g;
      g += T::header;
    }
  }
}

// Some groups of up to 16 rows of activations as [groups][16][32], what scales them as [groups][16],
// and what their minimums are multiplied with as [groups][halves][16]. Missing rows repeat the first.
template <Kind K>
void gather_groups(const Rows& x, const int32_t* index, int first, int n, int from, int groups, int8_t* values,
                   float* scales, float* weighted) {
  using T = Traits<K>;
  for (int r = 0; r < 16; r++) {
    int i = first + (r < n ? r : 0);
    size_t row = static_cast<size_t>(index ? index[i] : i), start = row * (x.stride / 32) + from;
    const int8_t* q = x.q + row * x.stride + 32 * from;
    const float* scale = x.scale + start;
    const Group* group = x.group + start;
    for (int at = 0; at < groups; at++) {
      memcpy(values + 512 * at + 32 * r, q + 32 * at, 32);
      scales[16 * at + r] = scale[at];
      if constexpr (T::minimum)
        for (int h = 0; h < T::halves; h++)
          weighted[16 * (T::halves * at + h) + r] =
              T::halves == 1 ? group[at].weighted : scale[at] * static_cast<float>(-group[at].minus[h]);
    }
  }
}

template <Kind K> struct QuantisedTiles {
  using T = Traits<K>;

  // out[r] += the sums of one half (or all) of a group, scaled.
  INLINE void scaled(const int32_t* sums, const float* w_scale, const float* w_minimum,
                            const float* x_scale, const float* x_weighted, F (&out)[16]) {
    F s = f_load(w_scale);
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
      out[r] = f_fma(f_from_int(I{_mm512_load_si512(sums + 16 * r)}), f_mul(s, f_set(x_scale[r])), out[r]);
    if constexpr (T::minimum) {
      F m = f_load(w_minimum);
#pragma GCC unroll 16
      for (int r = 0; r < 16; r++) out[r] = f_fma(m, f_set(x_weighted[r]), out[r]);
    }
  }

  // What a thread works on: gathered activations of up to TILE_ROWS rows, and one panel.
  struct Memory {
    alignas(64) int8_t x[TILE_ROWS / 16][512 * TILE_GROUPS];
    float x_scale[TILE_ROWS / 16][16 * TILE_GROUPS];
    float x_weighted[TILE_ROWS / 16][16 * T::halves * TILE_GROUPS];
    int8_t w[512 * TILE_GROUPS];
    float w_scale[16 * T::halves * TILE_GROUPS];
    float w_minimum[16 * T::halves * TILE_GROUPS];
  };

  // The n rows of `tile` times the panel, added to what their sums were, or to nothing if `more` is not.
  static void multiply(const Memory& m, int tile, int n, int groups, bool more, float* out, ptrdiff_t out_stride) {
    alignas(64) int32_t sums[4][256];
    const float *w_scale = m.w_scale, *x_scale = m.x_scale[tile], *x_weighted = m.x_weighted[tile];
    F total[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) total[r] = more && r < n ? f_load(out + r * out_stride) : f_zero();
    const int8_t *a = m.x[tile], *b = m.w;
    int at = 0;
    if constexpr (T::halves == 1) {
      for (; at + 4 <= groups; at += 4, a += 2048, b += 2048) {
        _tile_zero(0); _tile_loadd(4, a, 32); _tile_loadd(6, b, 64); _tile_dpbssd(0, 4, 6);
        _tile_zero(1); _tile_loadd(5, a + 512, 32); _tile_loadd(7, b + 512, 64); _tile_dpbssd(1, 5, 7);
        _tile_zero(2); _tile_loadd(4, a + 1024, 32); _tile_loadd(6, b + 1024, 64); _tile_dpbssd(2, 4, 6);
        _tile_zero(3); _tile_loadd(5, a + 1536, 32); _tile_loadd(7, b + 1536, 64); _tile_dpbssd(3, 5, 7);
        _tile_stored(0, sums[0], 64); _tile_stored(1, sums[1], 64);
        _tile_stored(2, sums[2], 64); _tile_stored(3, sums[3], 64);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
          scaled(sums[i], w_scale + 16 * (at + i), m.w_minimum + 16 * (at + i), x_scale + 16 * (at + i),
                 x_weighted + 16 * (at + i), total);
      }
      for (; at < groups; at++, a += 512, b += 512) {
        _tile_zero(0); _tile_loadd(4, a, 32); _tile_loadd(6, b, 64); _tile_dpbssd(0, 4, 6);
        _tile_stored(0, sums[0], 64);
        scaled(sums[0], w_scale + 16 * at, m.w_minimum + 16 * at, x_scale + 16 * at, x_weighted + 16 * at, total);
      }
    } else {
      for (; at + 2 <= groups; at += 2, a += 1024, b += 1024) {  // half a group is 16 columns
        _tile_zero(0); _tile_loadd(4, a, 32); _tile_loadd(6, b, 64); _tile_dpbssd(0, 4, 6);
        _tile_zero(1); _tile_loadd(5, a + 16, 32); _tile_loadd(7, b + 256, 64); _tile_dpbssd(1, 5, 7);
        _tile_zero(2); _tile_loadd(4, a + 512, 32); _tile_loadd(6, b + 512, 64); _tile_dpbssd(2, 4, 6);
        _tile_zero(3); _tile_loadd(5, a + 528, 32); _tile_loadd(7, b + 768, 64); _tile_dpbssd(3, 5, 7);
        _tile_stored(0, sums[0], 64); _tile_stored(1, sums[1], 64);
        _tile_stored(2, sums[2], 64); _tile_stored(3, sums[3], 64);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
          scaled(sums[i], w_scale + 32 * at + 16 * i, m.w_minimum + 32 * at + 16 * i,
                 x_scale + 16 * (at + i / 2), x_weighted + 32 * at + 16 * i, total);
      }
      static_assert(T::super % 2 == 0, "there are whole pairs of groups");
    }
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
      if (r < n) f_store(out + r * out_stride, total[r]);
  }

  static void product(const Matrix& w, int first, int last, const Rows& x, const int32_t* index, int n,
                      float* out, ptrdiff_t out_stride) {
    static_assert(TILE_GROUPS % T::super == 0, "a segment begins with a block");
    const int groups = w.cols / 32;
    Memory& m = *reinterpret_cast<Memory*>(room.of(sizeof(Memory)));
    Tiles tiles;
    tiles.shape(16, T::halves == 1 ? 32 : 16);
    for (int from = 0; from < n; from += TILE_ROWS) {
      const int rows = n - from < TILE_ROWS ? n - from : TILE_ROWS;
      for (int group = 0; group < groups; group += TILE_GROUPS) {
        const int count = groups - group < TILE_GROUPS ? groups - group : TILE_GROUPS;
        for (int row = 0; row < rows; row += 16)
          gather_groups<K>(x, index, from + row, rows - row, group, count, m.x[row / 16], m.x_scale[row / 16],
                           m.x_weighted[row / 16]);
        for (int panel = first; panel < last; panel++) {
          unpack_groups<K>(w.data + panel * w.panel_stride(), group, count, m.w, m.w_scale, m.w_minimum);
          written();
          float* to = out + from * out_stride + 16 * (panel - first);
          for (int row = 0; row < rows; row += 16)
            multiply(m, row / 16, rows - row, count, group > 0, to + row * out_stride, out_stride);
        }
      }
    }
    if (w.bias)
      for (int i = 0; i < n; i++)
        for (int panel = first; panel < last; panel++) {
          float* at = out + i * out_stride + 16 * (panel - first);
          f_store(at, f_add(f_load(at), f_load(w.bias + 16 * panel)));
        }
  }
};

// --------------------------------------------------------------------------- bfloat16 products

// Up to 16 rows times one panel, or times two.
template <Ask ask, bool two>
INLINE void pair_tile(const uint16_t* a, size_t a_stride, const uint16_t* b, size_t panel_step, int pairs,
                      float* c, size_t c_stride, bool more) {
  const size_t c_bytes = 4 * c_stride, a_bytes = 2 * a_stride;
  if (more) _tile_loadd(0, c, c_bytes);
  else _tile_zero(0);
  if (two) {
    if (more) _tile_loadd(1, c + 16, c_bytes);
    else _tile_zero(1);
  }
  for (int at = 0; at < pairs; at += 16) {
    const uint16_t* w = b + 32 * static_cast<size_t>(at);
    for (int line = 0; line < 512; line += 32) ask_for<ask>(w + line);
    _tile_loadd(4, a + 2 * at, a_bytes);
    _tile_loadd(6, w, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (two) {
      for (int line = 0; line < 512; line += 32) ask_for<ask>(w + panel_step + line);
      _tile_loadd(7, w + panel_step, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  if (two) _tile_stored(1, c + 16, c_bytes);
}

// 32 rows times two panels.
INLINE void pair_square(const uint16_t* a, size_t a_stride, const uint16_t* b, size_t panel_step,
                        int pairs, float* c, size_t c_stride, bool more) {
  const size_t c_bytes = 4 * c_stride, a_bytes = 2 * a_stride;
  float* below = c + 16 * c_stride;
  if (more) {
    _tile_loadd(0, c, c_bytes); _tile_loadd(1, c + 16, c_bytes);
    _tile_loadd(2, below, c_bytes); _tile_loadd(3, below + 16, c_bytes);
  } else {
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  }
  for (int at = 0; at < pairs; at += 16) {
    const uint16_t* w = b + 32 * static_cast<size_t>(at);
    _tile_loadd(4, a + 2 * at, a_bytes); _tile_loadd(6, w, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, w + panel_step, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + 16 * a_stride + 2 * at, a_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, c_bytes); _tile_stored(1, c + 16, c_bytes);
  _tile_stored(2, below, c_bytes); _tile_stored(3, below + 16, c_bytes);
}

// `pair_product` where pairs is a multiple of 16.
template <Ask ask>
void pair_tiles(Tiles& tiles, const uint16_t* a, size_t a_stride, int n, const uint16_t* b,
                size_t panel_step, int panels, int pairs, float* c, size_t c_stride, bool more) {
  written();
  for (int i = 0; i < n;) {
    int rows = n - i < 16 ? n - i : n - i < 32 ? 16 : 32;
    tiles.shape(rows < 16 ? rows : 16, 64);
    const uint16_t* x = a + i * a_stride;
    float* y = c + i * c_stride;
    int p = 0;
    for (; p + 2 <= panels; p += 2) {
      const uint16_t* w = b + p * panel_step;
      if (rows == 32) pair_square(x, a_stride, w, panel_step, pairs, y + 16 * p, c_stride, more);
      else pair_tile<ask, true>(x, a_stride, w, panel_step, pairs, y + 16 * p, c_stride, more);
    }
    for (; p < panels; p++)
      for (int half = 0; half < rows; half += 16)
        pair_tile<ask, false>(x + half * a_stride, a_stride, b + p * panel_step, panel_step, pairs,
                              y + half * c_stride + 16 * p, c_stride, more);
    i += rows;
  }
}

// A matrix in bfloat16 whose columns are a multiple of 32.
void bf16_tiles(const Matrix& w, int first, int last, const Rows& x, const int32_t* index, int n,
                float* out, ptrdiff_t out_stride) {
  const uint16_t* rows = x.h;
  if (index) {
    uint16_t* gathered = reinterpret_cast<uint16_t*>(room.of(sizeof(uint16_t) * n * x.stride));
    for (int i = 0; i < n; i++)
      memcpy(gathered + static_cast<size_t>(i) * x.stride, x.h + static_cast<size_t>(index[i]) * x.stride,
             sizeof(uint16_t) * x.stride);
    rows = gathered;
  }
  const size_t step = w.panel_stride() / sizeof(uint16_t);
  const uint16_t* panels = reinterpret_cast<const uint16_t*>(w.data + first * w.panel_stride());
  Tiles tiles;
  pair_tiles<Ask::THROUGH>(tiles, rows, x.stride, n, panels, step, last - first, w.cols / 2, out,
                           out_stride, false);
  if (w.bias)
    for (int i = 0; i < n; i++)
      for (int p = first; p < last; p++) {
        float* at = out + i * out_stride + 16 * (p - first);
        f_store(at, f_add(f_load(at), f_load(w.bias + 16 * p)));
      }
}

// Queries [n][width] in sixteens as weights: [n / 16][width / 2][16][2]. Missing rows repeat the last.
const uint16_t* turned_queries(const uint16_t* q, size_t stride, int n, int width) {
  uint16_t* out = reinterpret_cast<uint16_t*>(room.of(sizeof(uint16_t) * 16 * width * ((n + 15) / 16 + 1)));
  uint16_t* sixteen = out + 16 * static_cast<size_t>(width) * ((n + 15) / 16);
  for (int i = 0; i < n; i += 16) {
    for (int r = 0; r < 16; r++)
      memcpy(sixteen + r * width, q + (i + r < n ? i + r : n - 1) * stride, sizeof(uint16_t) * width);
    transpose_pairs(sixteen, width, width / 2, out + i * static_cast<size_t>(width));
  }
  written();
  return out;
}

// Scores of the queries and the plain keys of a page: the keys are the rows, the queries the weights.
class PlainScores {
 public:
  explicit PlainScores(const Attention& attention) : a(attention) {
    if (a.key_stride) turned = turned_queries(a.q, a.q_stride, a.rows, 2 * a.pairs);
  }

  // Of the first `tokens`, a multiple of 32. Asks for the next page on the way.
  void page(Tiles& tiles, int page, int tokens, float* scores) const {
    alignas(64) float sums[2][16][16], out[16][16];
    tiles.shape(16, 64);
    const size_t row = a.key_stride, width = 2 * a.pairs;
    const uint16_t* next = page + 1 < a.pages ? a.keys[page + 1] : nullptr;
    for (int token = 0; token < tokens; token += 32) {
      const uint16_t* k = a.keys[page] + token * row;
      if (next != nullptr)
        for (size_t at = 0; at < 32 * row; at += 32) ask_for<Ask::SOON>(next + token * row + at);
      for (int i = 0; i < a.rows; i += 16) {
        const uint16_t* q = turned + i * width;
        _tile_zero(0); _tile_zero(1);
        for (size_t at = 0; at < width; at += 32) {
          _tile_loadd(6, q + 16 * at, 64);
          _tile_loadd(4, k + at, 2 * row); _tile_dpbf16ps(0, 4, 6);
          _tile_loadd(5, k + 16 * row + at, 2 * row); _tile_dpbf16ps(1, 5, 6);
        }
        _tile_stored(0, sums[0], 64); _tile_stored(1, sums[1], 64);
        for (int half = 0; half < 2; half++) {
          transpose_pairs(reinterpret_cast<const uint16_t*>(sums[half]), 32, 16, reinterpret_cast<uint16_t*>(out));
          for (int r = 0; r < 16 && i + r < a.rows; r++)
            f_store(scores + static_cast<size_t>(i + r) * SPLIT + token + 16 * half, f_load(out[r]));
        }
      }
    }
  }

 private:
  const Attention& a;
  const uint16_t* turned = nullptr;
};
