// All kernels, for the instruction set this file is compiled for; LEVEL is its name. No standard
// templates here: the linker would keep one copy of them for all levels.
#include "kernels.h"

#include <cstdlib>

#include "simd.h"

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

namespace midfill {
namespace LEVEL {

namespace {

typedef int32_t __attribute__((may_alias)) Word;    // four int8 activations
typedef uint32_t __attribute__((may_alias)) Pair;   // two bfloat16

// What becomes of weights that are asked for ahead of their use: they are needed AGAIN for more
// rows, or pass by once, beside the caches or through the second level (see `beside_caches`).
// SOON asks for exactly this address, the others for what lies some KiB behind it.
enum class Ask { AGAIN, BESIDE, THROUGH, SOON };

template <Ask ask> INLINE void ask_for(const void* at) {
  const char* p = static_cast<const char*>(at);
  if (ask == Ask::AGAIN) __builtin_prefetch(p + 4096);
  if (ask == Ask::BESIDE) __builtin_prefetch(p + 6144, 0, 0);
  if (ask == Ask::THROUGH) __builtin_prefetch(p + 4096, 0, 2);
  if (ask == Ask::SOON) __builtin_prefetch(p, 0, 2);
}

constexpr int ROWS_AT_ONCE = 256;  // whose activations stay in the second-level cache

// ------------------------------------------------------------------------- quantised products

// What the kernel must know of a kind: bytes before the first group of 32 columns, bytes of a
// group, where in it the values lie, the number that stands for zero (2^zero, or none), scales per
// group.
constexpr int NONE = -1;
template <Kind K> struct Traits;
#define TRAITS(K, super_, header_, group_, at_, zero_, halves_, minimum_)             \
  template <> struct Traits<Kind::K> {                                                \
    static constexpr int super = super_, header = header_, group = group_, at = at_; \
    static constexpr int zero = zero_, halves = halves_;                              \
    static constexpr bool minimum = minimum_;                                         \
  };
//     kind  groups header group  at zero halves minimum
TRAITS(Q8_0, 1,     0,     544,   32, 7, 1,    false)
TRAITS(Q4_0, 1,     0,     288,   32, 3,   1,    false)
TRAITS(Q4_1, 1,     0,     320,   64, NONE,  1,    true)
TRAITS(Q5_0, 1,     0,     352,   32, 4,  1,    false)
TRAITS(Q5_1, 1,     0,     384,   64, NONE,  1,    true)
TRAITS(Q4_K, 8,     64,    288,   32, NONE,  1,    true)
TRAITS(Q5_K, 8,     64,    352,   32, NONE,  1,    true)
TRAITS(Q6_K, 8,     32,    416,   32, 5,  2,    false)
TRAITS(Q2_K, 8,     64,    192,   64, NONE,  2,    true)
TRAITS(Q3_K, 8,     32,    224,   32, 2,   2,    false)

// Columns 4*run .. 4*run + 3 of a group, as unsigned bytes; v is where its values begin.
template <Kind K, int run> INLINE B weights(const uint8_t* v) {
  constexpr int half = run / 4, shift = 2 * (run % 4);
  if (K == Kind::Q8_0) return b_load(v + 64 * run);
  if (K == Kind::Q2_K) return b_two<shift>(b_load(v + 64 * half));
  if (K == Kind::Q3_K)
    return b_or(b_two<shift>(b_load(v + 64 * half)), b_bits<4>(v + 128 + 8 * run));
  B nibbles = b_load(v + 64 * (run % 4));
  B low = run < 4 ? b_low4(nibbles) : b_high4(nibbles);
  if (K == Kind::Q5_0 || K == Kind::Q5_1 || K == Kind::Q5_K)
    return b_or(low, b_bits<16>(v + 256 + 8 * run));
  if (K == Kind::Q6_K) return b_or(low, b_shl<4>(b_two<shift>(b_load(v + 256 + 64 * half))));
  return low;
}

// The scale and the minimum of half `h` of a group; g is the group, d the block's header.
template <Kind K> INLINE F scale_of(const uint8_t* d, const uint8_t* g, int h) {
  if (K == Kind::Q4_K || K == Kind::Q5_K) return f_mul(f_load_half(d), f_load_u8(g));
  if (K == Kind::Q2_K) return f_mul(f_load_half(d), f_load_u8(g + 16 * h));
  if (K == Kind::Q6_K || K == Kind::Q3_K)
    return f_mul(f_load_half(d), f_load_i8(reinterpret_cast<const int8_t*>(g) + 16 * h));
  return f_load_half(g);
}

template <Kind K> INLINE F minimum_of(const uint8_t* d, const uint8_t* g, int h) {
  if (K == Kind::Q4_1 || K == Kind::Q5_1) return f_load_half(g + 32);
  F minus = f_mul(f_load_half(d + 32), f_set(-1.0f));
  return f_mul(minus, f_load_u8(K == Kind::Q2_K ? g + 32 + 16 * h : g + 16));
}

// acc[r][p] += columns 4*run .. of row r times those of panel p.
template <Kind K, int run, int R, int P>
INLINE void dot_run(I (&acc)[R][P], const uint8_t* const (&v)[P], const Word* const (&x)[R], int at) {
  B w[P];
  for (int p = 0; p < P; p++) w[p] = weights<K, run>(v[p]);
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++) acc[r][p] = i_dot4<K == Kind::Q8_0>(acc[r][p], w[p], x[r][at + run]);
}

// Runs first .. first + 3, or (count 8) all, those that share their bytes one after the other.
template <Kind K, int first, int count, int R, int P>
INLINE void dot_runs(I (&acc)[R][P], const uint8_t* const (&v)[P], const Word* const (&x)[R], int at) {
  constexpr bool all = count == 8;
  dot_run<K, first>(acc, v, x, at);
  if constexpr (all) dot_run<K, 4>(acc, v, x, at);
  dot_run<K, first + 1>(acc, v, x, at);
  if constexpr (all) dot_run<K, 5>(acc, v, x, at);
  dot_run<K, first + 2>(acc, v, x, at);
  if constexpr (all) dot_run<K, 6>(acc, v, x, at);
  dot_run<K, first + 3>(acc, v, x, at);
  if constexpr (all) dot_run<K, 7>(acc, v, x, at);
}

// R rows of activations times P panels.
template <Kind K> struct Quantised {
  using T = Traits<K>;
  static constexpr int panels = 2, rows = 4;  // of a register block

  // One half (or all) of a group of 32 columns: integers inside it, then one float multiply-add.
  template <int h, int R, int P>
  INLINE void half(const uint8_t* const (&d)[P], const uint8_t* const (&g)[P],
                          const Word* const (&q)[R], const float* const (&scale)[R],
                          const Group* const (&group)[R], int at, F (&out)[R][P]) {
    const uint8_t* v[P];
    I acc[R][P];
    for (int p = 0; p < P; p++) v[p] = g[p] + T::at;
    for (int r = 0; r < R; r++) {
      I zero = i_set(0);
      if constexpr (T::zero != NONE)
        zero = i_shl<T::zero>(i_set(T::halves == 1 ? group[r][at].minus_all : group[r][at].minus[h]));
      for (int p = 0; p < P; p++) acc[r][p] = zero;
    }
    dot_runs<K, 4 * h, T::halves == 1 ? 8 : 4>(acc, v, q, 8 * at);
    for (int p = 0; p < P; p++) {
      F s = scale_of<K>(d[p], g[p], h);
      for (int r = 0; r < R; r++)
        out[r][p] = f_fma(f_from_int(acc[r][p]), f_mul(s, f_set(scale[r][at])), out[r][p]);
      if constexpr (T::minimum) {
        F m = minimum_of<K>(d[p], g[p], h);
        for (int r = 0; r < R; r++) {
          const Group& x = group[r][at];
          float weighted = T::halves == 1 ? x.weighted : scale[r][at] * static_cast<float>(-x.minus[h]);
          out[r][p] = f_fma(m, f_set(weighted), out[r][p]);
        }
      }
    }
  }

  template <Ask ask, int R, int P>
  INLINE void sums(const uint8_t* panel, size_t step, int cols, const Rows& x,
                   const int32_t* rows, F (&out)[R][P]) {
    const Word* q[R];
    const float* scale[R];
    const Group* group[R];
    const uint8_t *d[P], *g[P];
    for (int r = 0; r < R; r++) {
      q[r] = reinterpret_cast<const Word*>(x.q + static_cast<size_t>(rows[r]) * x.stride);
      scale[r] = x.scale + static_cast<size_t>(rows[r]) * (x.stride / 32);
      group[r] = x.group + static_cast<size_t>(rows[r]) * (x.stride / 32);
      for (int p = 0; p < P; p++) out[r][p] = f_zero();
    }
    for (int p = 0; p < P; p++) {
      d[p] = panel + p * step;
      g[p] = d[p] + T::header;
    }
    for (int at = 0; at < cols / 32; at++) {
      for (int p = 0; p < P; p++)
        for (int line = 0; line < T::group; line += 64) ask_for<ask>(g[p] + line);
      half<0>(d, g, q, scale, group, at, out);
      if constexpr (T::halves == 2) half<1>(d, g, q, scale, group, at, out);
      for (int p = 0; p < P; p++) {
        g[p] += T::group;
        if (T::super > 1 && (at + 1) % T::super == 0) {
          d[p] = g[p];
          g[p] += T::header;
        }
      }
    }
  }
};

// ------------------------------------------------------------------------------ plain products

// acc[r][p] += sum over pairs of a[r][pair] * b[p][pair], in the order of the pairs.
template <Ask ask, int R, int P>
INLINE void dot_pairs(const Pair* const* a, const uint16_t* const* b, int pairs, F (&acc)[R][P]) {
  for (int at = 0; at < pairs; at++) {
    B w[P];
    for (int p = 0; p < P; p++) {
      w[p] = b_load(b[p] + 32 * static_cast<size_t>(at));
      ask_for<ask>(b[p] + 32 * static_cast<size_t>(at));
    }
    for (int r = 0; r < R; r++)
      for (int p = 0; p < P; p++) acc[r][p] = f_dot2(acc[r][p], w[p], a[r][at]);
  }
}

struct Bf16 {
  static constexpr int panels = 2, rows = 8;
  template <Ask ask, int R, int P>
  INLINE void sums(const uint8_t* panel, size_t step, int cols, const Rows& x,
                   const int32_t* rows, F (&out)[R][P]) {
    const Pair* a[R];
    const uint16_t* b[P];
    for (int p = 0; p < P; p++) b[p] = reinterpret_cast<const uint16_t*>(panel + p * step);
    for (int r = 0; r < R; r++) {
      a[r] = reinterpret_cast<const Pair*>(x.h + static_cast<size_t>(rows[r]) * x.stride);
      for (int p = 0; p < P; p++) out[r][p] = f_zero();
    }
    dot_pairs<ask, R, P>(a, b, (cols + 1) / 2, out);
  }
};

struct F32 {
  static constexpr int panels = 2, rows = 8;
  template <Ask ask, int R, int P>
  INLINE void sums(const uint8_t* panel, size_t step, int cols, const Rows& x,
                   const int32_t* rows, F (&out)[R][P]) {
    for (int r = 0; r < R; r++)
      for (int p = 0; p < P; p++) out[r][p] = f_zero();
    for (int c = 0; c < cols; c++) {
      F v[P];
      for (int p = 0; p < P; p++) {
        const uint8_t* at = panel + p * step + 64 * static_cast<size_t>(c);
        ask_for<ask>(at);
        v[p] = f_load(reinterpret_cast<const float*>(at));
      }
      for (int r = 0; r < R; r++) {
        F a = f_set(x.f[static_cast<size_t>(rows[r]) * x.stride + c]);
        for (int p = 0; p < P; p++) out[r][p] = f_fma(a, v[p], out[r][p]);
      }
    }
  }
};

struct F16 {
  static constexpr int panels = 2, rows = 8;
  template <Ask ask, int R, int P>
  INLINE void sums(const uint8_t* panel, size_t step, int cols, const Rows& x,
                   const int32_t* rows, F (&out)[R][P]) {
    for (int r = 0; r < R; r++)
      for (int p = 0; p < P; p++) out[r][p] = f_zero();
    for (int c = 0; c < cols; c += 2) {
      F even[P], odd[P];
      for (int p = 0; p < P; p++) {
        const uint8_t* at = panel + p * step + 32 * static_cast<size_t>(c);
        ask_for<ask>(at);
        even[p] = f_even_half(at);
        odd[p] = f_odd_half(at);
      }
      for (int r = 0; r < R; r++) {
        const float* v = x.f + static_cast<size_t>(rows[r]) * x.stride + c;
        F a = f_set(v[0]), b = f_set(v[1]);  // behind the last column x is zero
        for (int p = 0; p < P; p++) out[r][p] = f_fma(b, odd[p], f_fma(a, even[p], out[r][p]));
      }
    }
  }
};

// R rows from `index` (or from row `from` on) times P panels from `panel` on.
template <class Product, Ask ask, int R, int P>
INLINE void block(const Matrix& w, int panel, int first, const Rows& x, const int32_t* index, int from,
                  float* out, ptrdiff_t out_stride) {
  int32_t rows[R];
  for (int r = 0; r < R; r++) rows[r] = index ? index[from + r] : from + r;
  F sums[R][P];
  size_t step = w.panel_stride();
  Product::template sums<ask, R, P>(w.data + panel * step, step, w.cols, x, rows, sums);
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++) {
      if (w.bias) sums[r][p] = f_add(sums[r][p], f_load(w.bias + 16 * (panel + p)));
      f_store(out + (from + r) * out_stride + 16 * (panel + p - first), sums[r][p]);
    }
}

template <class Product, int P, Ask ask>
INLINE void blocks(const Matrix& w, int panel, int first, const Rows& x, const int32_t* index, int from,
                   int to, float* out, ptrdiff_t out_stride) {
  int i = from;
  if constexpr (BLOCK_ROWS >= 8) {
    if constexpr (Product::rows >= 8 || P == 1)
      for (; i + 8 <= to; i += 8) block<Product, ask, 8, P>(w, panel, first, x, index, i, out, out_stride);
    for (; i + 4 <= to; i += 4) block<Product, ask, 4, P>(w, panel, first, x, index, i, out, out_stride);
  }
  for (; i + 2 <= to; i += 2) block<Product, ask, 2, P>(w, panel, first, x, index, i, out, out_stride);
  for (; i < to; i++) block<Product, ask, 1, P>(w, panel, first, x, index, i, out, out_stride);
}

template <class Product>
void product(const Matrix& w, int first, int last, const Rows& x, const int32_t* index, int n,
             float* out, ptrdiff_t out_stride) {
  constexpr int P = BLOCK_ROWS >= 8 ? Product::panels : 1;
  if (n <= BLOCK_ROWS) {  // one stream of weights, which pass by once
    for (int panel = first; panel < last; panel++)
      if (beside_caches) blocks<Product, 1, Ask::BESIDE>(w, panel, first, x, index, 0, n, out, out_stride);
      else blocks<Product, 1, Ask::THROUGH>(w, panel, first, x, index, 0, n, out, out_stride);
    return;
  }
  for (int from = 0; from < n; from += ROWS_AT_ONCE) {
    int to = from + ROWS_AT_ONCE < n ? from + ROWS_AT_ONCE : n;
    int panel = first;
    for (; panel + P <= last; panel += P)
      blocks<Product, P, Ask::AGAIN>(w, panel, first, x, index, from, to, out, out_stride);
    for (; panel < last; panel++)
      blocks<Product, 1, Ask::AGAIN>(w, panel, first, x, index, from, to, out, out_stride);
  }
}

// 16 rows of pairs to pairs of 16 rows.
INLINE void transpose_pairs(const uint16_t* rows, int stride, int pairs, uint16_t* out) {
  int at = 0;
#if defined(__AVX512F__)
  for (; at + 16 <= pairs; at += 16) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(rows + i * static_cast<size_t>(stride) + 2 * at);
    for (int i = 0; i < 8; i++) {
      t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
      t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
      r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
      r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
      r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
      r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    // r[4 i + j] holds, in its 128-bit part k, column 4 k + j of rows 4 i .. 4 i + 3
    for (int j = 0; j < 4; j++) {
      __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), b = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
      __m512i c = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd), d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
      uint16_t* to = out + 32 * static_cast<size_t>(at);
      _mm512_storeu_si512(to + 32 * j, _mm512_shuffle_i32x4(a, b, 0x88));
      _mm512_storeu_si512(to + 32 * (4 + j), _mm512_shuffle_i32x4(c, d, 0x88));
      _mm512_storeu_si512(to + 32 * (8 + j), _mm512_shuffle_i32x4(a, b, 0xdd));
      _mm512_storeu_si512(to + 32 * (12 + j), _mm512_shuffle_i32x4(c, d, 0xdd));
    }
  }
#endif
  for (; at < pairs; at++)
    for (int i = 0; i < 16; i++) memcpy(out + 32 * at + 2 * i, rows + i * static_cast<size_t>(stride) + 2 * at, 4);
}

#if defined(__AMX_TILE__)
#define TILES 1
#include "tiles.h"
constexpr int TOKENS_AT_ONCE = 32;
#else
#define TILES 0
struct Tiles {};
constexpr int TOKENS_AT_ONCE = 16;
#endif

void linear(const Matrix& w, int first, int last, const Rows& x, const int32_t* index, int n,
            float* out, ptrdiff_t out_stride) {
#if TILES
  if (w.kind == Kind::BF16 && w.cols % 32 == 0) return bf16_tiles(w, first, last, x, index, n, out, out_stride);
#define MANY(K) if (n > BLOCK_ROWS) return QuantisedTiles<Kind::K>::product(w, first, last, x, index, n, out, out_stride);
#else
#define MANY(K)
#endif
  switch (w.kind) {
#define CASE(K)   \
  case Kind::K:   \
    MANY(K)       \
    return product<Quantised<Kind::K>>(w, first, last, x, index, n, out, out_stride);
    CASE(Q8_0) CASE(Q4_0) CASE(Q4_1) CASE(Q5_0) CASE(Q5_1)
    CASE(Q4_K) CASE(Q5_K) CASE(Q6_K) CASE(Q2_K) CASE(Q3_K)
#undef CASE
    case Kind::F32: return product<F32>(w, first, last, x, index, n, out, out_stride);
    case Kind::F16: return product<F16>(w, first, last, x, index, n, out, out_stride);
    case Kind::BF16: return product<Bf16>(w, first, last, x, index, n, out, out_stride);
    case Kind::COUNT: break;
  }
}

// --------------------------------------------------------------------------------- single rows

void quantise(const float* x, int cols, int8_t* q, float* scale, Group* group) {
  for (int at = 0; at < cols; at += 32) {
    F a = f_load(x + at), b = f_load(x + at + 16);
    float top = f_top(f_max(f_abs(a), f_abs(b)));
    F inverse = f_set(top > 0 ? 127.0f / top : 0.0f);
    I low = i_round(f_mul(a, inverse)), high = i_round(f_mul(b, inverse));
    i_store_bytes(q + at, low);
    i_store_bytes(q + at + 16, high);
    Group& g = group[at / 32];
    g.minus[0] = -i_sum(low);
    g.minus[1] = -i_sum(high);
    g.minus_all = g.minus[0] + g.minus[1];
    scale[at / 32] = top / 127.0f;
    g.weighted = scale[at / 32] * static_cast<float>(-g.minus_all);
  }
}

void row_to_bf16(const float* x, int n, uint16_t* out) {
  int at = 0;
  for (; at + 16 <= n; at += 16) f_store_bf16(out + at, f_load(x + at));
  for (; at < n; at++) out[at] = to_bf16(x[at]);
}

void rms_norm(const float* x, const float* weight, int n, float eps, float* out) {
  F squares = f_zero();
  int whole = n / 16 * 16;
  for (int at = 0; at < whole; at += 16) {
    F v = f_load(x + at);
    squares = f_fma(v, v, squares);
  }
  float total = f_sum(squares);
  for (int at = whole; at < n; at++) total += x[at] * x[at];
  float scale = 1.0f / sqrtf(total / static_cast<float>(n) + eps);
  for (int at = 0; at < whole; at += 16)
    f_store(out + at, f_mul(f_mul(f_load(x + at), f_set(scale)), f_load(weight + at)));
  for (int at = whole; at < n; at++) out[at] = x[at] * scale * weight[at];
}

void swiglu(const float* gate, const float* up, int n, float* out) {
  for (int at = 0; at < n; at += 16) {
    F g = f_load(gate + at);
    F bottom = f_add(f_set(1.0f), f_exp(f_sub(f_zero(), g)));
    f_store(out + at, f_mul(f_div(g, bottom), f_load(up + at)));
  }
}

void add(float* x, const float* y, int n) {
  int at = 0;
  for (; at + 16 <= n; at += 16) f_store(x + at, f_add(f_load(x + at), f_load(y + at)));
  for (; at < n; at++) x[at] += y[at];
}

void add_scaled(float* x, const float* y, float w, int n) {
  int at = 0;
  F v = f_set(w);
  for (; at + 16 <= n; at += 16) f_store(x + at, f_fma(v, f_load(y + at), f_load(x + at)));
  for (; at < n; at++) x[at] += w * y[at];
}

// ----------------------------------------------------------------------------------- attention

// C[row][16 * panel ..] (+)= rows of pairs times panels whose starts lie `panel_step` apart.
template <int R, int P>
INLINE void pair_block(const Pair* const* a, const uint16_t* b, size_t panel_step, int pairs,
                       float* const* c, bool more) {
  const uint16_t* panels[P];
  F acc[R][P];
  for (int p = 0; p < P; p++) panels[p] = b + p * panel_step;
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++) acc[r][p] = more ? f_load(c[r] + 16 * p) : f_zero();
  dot_pairs<Ask::AGAIN>(a, panels, pairs, acc);
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++) f_store(c[r] + 16 * p, acc[r][p]);
}

template <int R>
INLINE void pair_rows(const uint16_t* a, size_t a_stride, const uint16_t* b, size_t panel_step,
                      int panels, int pairs, float* c, size_t c_stride, bool more) {
  constexpr int P = R >= 8 ? 2 : 4;
  const Pair* rows[R];
  float* out[R];
  for (int r = 0; r < R; r++) rows[r] = reinterpret_cast<const Pair*>(a + r * a_stride);
  int p = 0;
  for (; p + P <= panels; p += P) {
    for (int r = 0; r < R; r++) out[r] = c + r * c_stride + 16 * p;
    pair_block<R, P>(rows, b + p * panel_step, panel_step, pairs, out, more);
  }
  for (; p < panels; p++) {
    for (int r = 0; r < R; r++) out[r] = c + r * c_stride + 16 * p;
    pair_block<R, 1>(rows, b + p * panel_step, panel_step, pairs, out, more);
  }
}

// The product of bfloat16 rows [n][pairs] with panels [pairs][16][2]: every product of attention.
void pair_product(Tiles& tiles, const uint16_t* a, size_t a_stride, int n, const uint16_t* b, size_t panel_step,
                  int panels, int pairs, float* c, size_t c_stride, bool more) {
#if TILES
  if (pairs % 16 == 0)
    return pair_tiles<Ask::AGAIN>(tiles, a, a_stride, n, b, panel_step, panels, pairs, c, c_stride, more);
#else
  (void)tiles;
#endif
  int i = 0;
  if constexpr (BLOCK_ROWS >= 8) {
    for (; i + 8 <= n; i += 8)
      pair_rows<8>(a + i * a_stride, a_stride, b, panel_step, panels, pairs, c + i * c_stride,
                   c_stride, more);
    for (; i + 4 <= n; i += 4)
      pair_rows<4>(a + i * a_stride, a_stride, b, panel_step, panels, pairs, c + i * c_stride,
                   c_stride, more);
  }
  for (; i + 2 <= n; i += 2)
    pair_rows<2>(a + i * a_stride, a_stride, b, panel_step, panels, pairs, c + i * c_stride,
                 c_stride, more);
  for (; i < n; i++)
    pair_rows<1>(a + i * a_stride, a_stride, b, panel_step, panels, pairs, c + i * c_stride,
                 c_stride, more);
}

// Scores of one row to probabilities (not yet divided by their sum), in place and as bfloat16.
void soften(float* scores, int seen, int total, float scale, uint16_t* probs, float* top,
            float* sum) {
  *top = -INFINITY;
  *sum = 0.0f;
  if (seen <= 0) {
    memset(probs, 0, total * sizeof(uint16_t));
    return;
  }
  int padded = (seen + 15) / 16 * 16;
  for (int at = seen; at < padded; at++) scores[at] = -INFINITY;
  F most = f_load(scores);
  for (int at = 16; at < padded; at += 16) most = f_max(most, f_load(scores + at));
  float highest = f_top(most);
  for (int at = 0; at < padded; at += 16)
    f_store(scores + at, f_exp(f_mul(f_sub(f_load(scores + at), f_set(highest)), f_set(scale))));
  for (int at = seen; at < padded; at++) scores[at] = 0.0f;
  F sums = f_zero();
  for (int at = 0; at < padded; at += 16) {
    F p = f_load(scores + at);
    sums = f_add(sums, p);
    f_store_bf16(probs + at, p);
  }
  memset(probs + padded, 0, (total - padded) * sizeof(uint16_t));
  *top = highest * scale;
  *sum = f_sum(sums);
}

#if !TILES
// Scores of 4 rows of queries and 4 of keys: the lanes are features, summed at the end.
INLINE void plain_block(const uint16_t* const* q, int rows, const uint16_t* keys, int stride, int width,
                        float* scores) {
  F acc[16];
  for (int i = 0; i < 16; i++) acc[i] = f_zero();
  constexpr int H = BLOCK_ROWS >= 8 ? 4 : 1;  // rows of queries whose sums stay in registers
  for (int h = 0; h < rows; h += H)
    for (int at = 0; at < width; at += 32) {
      B k[4];
      for (int t = 0; t < 4; t++) k[t] = b_load(keys + t * static_cast<size_t>(stride) + at);
      for (int i = 0; i < H; i++) {
        B x = b_load(q[h + i] + at);
        for (int t = 0; t < 4; t++) acc[4 * (h + i) + t] = f_dot2(acc[4 * (h + i) + t], x, k[t]);
      }
    }
  float sums[16];
  f_store(sums, f_sums(acc));
  for (int h = 0; h < rows; h++) memcpy(scores + static_cast<size_t>(h) * SPLIT, sums + 4 * h, 16);
}

// Scores of the queries and the plain keys of a page.
struct PlainScores {
  const Attention& a;

  // Of the first `tokens`; 4 at a time, so that a few behind the last token are scored too.
  void page(Tiles&, int page, int tokens, float* scores) const {
    for (int token = 0; token < tokens; token += 4) {
      const uint16_t* four = a.keys[page] + token * static_cast<size_t>(a.key_stride);
      for (int at = 0; at < 4 * a.key_stride; at += 32) __builtin_prefetch(four + 16 * a.key_stride + at);
      for (int row = 0; row < a.rows; row += 4) {
        int rows = a.rows - row < 4 ? a.rows - row : 4;
        const uint16_t* each[4];
        for (int i = 0; i < 4; i++) each[i] = a.q + (row + (i < rows ? i : 0)) * static_cast<size_t>(a.q_stride);
        plain_block(each, rows, four, a.key_stride, 2 * a.pairs, scores + static_cast<size_t>(row) * SPLIT + token);
      }
    }
  }
};
#endif

// The first `tokens` rows, a multiple of 16, as the values of a page.
void latent_values(const uint16_t* rows, int stride, int width, int tokens, uint16_t* values) {
#if defined(__AVX512F__)
  alignas(64) static const uint16_t LOW[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                               37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                               11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  __m512i low = _mm512_load_si512(LOW), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int pair = 0; pair < tokens / 2; pair++) {
    const uint16_t* a = rows + 2 * pair * static_cast<size_t>(stride);
    const uint16_t* b = a + stride;
    for (int at = 0; at < width; at += 32) {
      __m512i x = _mm512_loadu_si512(a + at), y = _mm512_loadu_si512(b + at);
      uint16_t* out = values + 1024 * static_cast<size_t>(at / 16) + 32 * pair;
      _mm512_storeu_si512(out, _mm512_permutex2var_epi16(x, low, y));
      if (at + 16 < width) _mm512_storeu_si512(out + 1024, _mm512_permutex2var_epi16(x, high, y));
    }
  }
#else
  for (int panel = 0; panel < width / 16; panel++)
    for (int pair = 0; pair < tokens / 2; pair++)
      for (int lane = 0; lane < 16; lane++)
        for (int odd = 0; odd < 2; odd++)
          values[((panel * 32 + pair) * 16 + lane) * 2 + odd] =
              rows[(2 * pair + odd) * static_cast<size_t>(stride) + 16 * panel + lane];
#endif
}

void attend(const Attention& a, Gathered out) {
  float* scores = a.scratch;
  uint16_t* probs = reinterpret_cast<uint16_t*>(a.scratch + static_cast<size_t>(a.rows) * SPLIT);
  int most = 0;
  for (int r = 0; r < a.rows; r++) most = a.seen[r] > most ? a.seen[r] : most;
  int pages = (most + PAGE - 1) / PAGE;
  // Tokens of a page that somebody sees, and some behind them.
  auto tokens = [&](int page) {
    int left = most - PAGE * page;
    return left < PAGE ? (left + TOKENS_AT_ONCE - 1) / TOKENS_AT_ONCE * TOKENS_AT_ONCE : PAGE;
  };
  Tiles tiles;
  PlainScores plain{a};
  for (int page = 0; page < pages; page++) {
    if (a.key_stride)
      plain.page(tiles, page, tokens(page), scores + PAGE * page);
    else
      pair_product(tiles, a.q, a.q_stride, a.rows, a.keys[page], 32 * static_cast<size_t>(a.pairs),
                   tokens(page) / 16, a.pairs, scores + PAGE * page, SPLIT, false);
  }
  for (int r = 0; r < a.rows; r++)
    soften(scores + static_cast<size_t>(r) * SPLIT, a.seen[r], PAGE * pages, a.scale,
           probs + static_cast<size_t>(r) * SPLIT, out.top + r, out.sum + r);
  if (pages == 0) memset(out.value, 0, sizeof(float) * a.rows * out.width);
  for (int page = 0; page < pages; page++) {
    const uint16_t* values = a.key_stride ? a.turned : a.values[page];
    if (a.key_stride) latent_values(a.keys[page], a.key_stride, out.width, tokens(page), a.turned);
    pair_product(tiles, probs + PAGE * page, SPLIT, a.rows, values, 32 * 32, out.width / 16, tokens(page) / 2,
                 out.value, out.width, page > 0);
  }
}

void combine(float* top, float* sum, float* value, float top2, float sum2, const float* value2,
             int width, bool first) {
  if (first) {
    *top = top2;
    *sum = sum2;
    memcpy(value, value2, sizeof(float) * width);
    return;
  }
  if (sum2 == 0.0f) return;
  float highest = *top > top2 ? *top : top2;
  float w1 = expf(*top - highest), w2 = expf(top2 - highest);
  *top = highest;
  *sum = *sum * w1 + sum2 * w2;
  F a = f_set(w1), b = f_set(w2);
  for (int at = 0; at < width; at += 16)
    f_store(value + at, f_fma(f_load(value2 + at), b, f_mul(f_load(value + at), a)));
}

// ------------------------------------------------------------------------------------- latents

void latent_read8(const int8_t* q, const uint16_t* scales, int n, uint16_t* out) {
  for (int at = 0; at < n; at += 32) {
    uint16_t same[16];
    for (int i = 0; i < 16; i++) same[i] = scales[at / 32];
    F scale = f_load_half(same);
    f_store_bf16(out + at, f_mul(f_load_i8(q + at), scale));
    f_store_bf16(out + at + 16, f_mul(f_load_i8(q + at + 16), scale));
  }
}

INLINE uint16_t to_half(float f) {  // positive, finite; to nearest even
  if (f >= 65504.0f) return 0x7bff;
  uint32_t bits = float_to_bits(f);
  if (bits < 0x38800000) return static_cast<uint16_t>(lrintf(f * 16777216.0f));  // subnormal
  bits += 0xfff + ((bits >> 13) & 1);
  return static_cast<uint16_t>((bits >> 13) - (112 << 10));
}

void latent_write8(const float* x, int n, int8_t* q, uint16_t* scales) {
  for (int at = 0; at < n; at += 32) {
    F a = f_load(x + at), b = f_load(x + at + 16);
    float top = f_top(f_max(f_abs(a), f_abs(b)));
    uint16_t same[16];
    for (int i = 0; i < 16; i++) same[i] = to_half(top / 127.0f);
    scales[at / 32] = same[0];
    float lanes[16];
    f_store(lanes, f_load_half(same));
    float inverse = lanes[0] > 0 ? 1.0f / lanes[0] : 0.0f;
    F most = f_set(127.0f), least = f_set(-127.0f);  // the scale was rounded
    i_store_bytes(q + at, i_round(f_max(f_min(f_mul(a, f_set(inverse)), most), least)));
    i_store_bytes(q + at + 16, i_round(f_max(f_min(f_mul(b, f_set(inverse)), most), least)));
  }
}

void expand_page(const uint16_t* rows, int stride, int latent, int rope, const uint16_t* k_weight,
                 int key_width, const Matrix& v_weight, int v_first, int value_width,
                 uint16_t* latent_keys, uint16_t* keys, uint16_t* values) {
  int all = (latent + rope) / 2, pairs = (key_width + rope) / 2;
  constexpr int R = TILES ? 16 : BLOCK_ROWS >= 8 ? 8 : 2;
  Tiles tiles;
  for (int sixteen = 0; sixteen < 4; sixteen++)
    transpose_pairs(rows + 16 * sixteen * static_cast<size_t>(stride), stride, all,
                    latent_keys + 32 * static_cast<size_t>(all) * sixteen);
  float block[R * 64];
  // Keys: 16 tokens are the lanes, rows of the weight are broadcast.
  for (int j = 0; j < key_width; j += R) {
    int n = key_width - j < R ? key_width - j : R;
    pair_product(tiles, k_weight + static_cast<size_t>(j) * latent, latent, n, latent_keys,
                 32 * static_cast<size_t>(all), 4, latent / 2, block, 64, false);
    for (int i = 0; i + 1 < n; i += 2)
      for (int sixteen = 0; sixteen < 4; sixteen++)
        f_store_pairs(keys + 32 * (static_cast<size_t>(pairs) * sixteen + (j + i) / 2),
                      f_load(block + 64 * i + 16 * sixteen), f_load(block + 64 * (i + 1) + 16 * sixteen));
  }
  for (int sixteen = 0; sixteen < 4; sixteen++)
    memcpy(keys + 32 * (static_cast<size_t>(pairs) * sixteen + key_width / 2),
           latent_keys + 32 * (static_cast<size_t>(all) * sixteen + latent / 2), sizeof(uint16_t) * 32 * (rope / 2));
  // Values: 16 features are the lanes, tokens are broadcast.
  const uint16_t* w = reinterpret_cast<const uint16_t*>(v_weight.data + v_first * v_weight.panel_stride());
  size_t step = v_weight.panel_stride() / sizeof(uint16_t);
  for (int panel = 0; panel < value_width / 16; panel += 4) {
    int n = value_width / 16 - panel < 4 ? value_width / 16 - panel : 4;
    for (int token = 0; token < PAGE; token += R) {
      pair_product(tiles, rows + token * static_cast<size_t>(stride), stride, R, w + panel * step, step, n,
                   latent / 2, block, 64, false);
      for (int i = 0; i < R; i += 2)
        for (int p = 0; p < n; p++)
          f_store_pairs(values + 1024 * static_cast<size_t>(panel + p) + 32 * ((token + i) / 2),
                        f_load(block + 64 * i + 16 * p), f_load(block + 64 * (i + 1) + 16 * p));
    }
  }
}

}  // namespace

extern const Kernels table;
const Kernels table = {
    TEXT(LEVEL), quantise, row_to_bf16, linear,      rms_norm,     swiglu,        add,
    add_scaled,  attend,   combine,     latent_read8, latent_write8, expand_page,
};

}  // namespace LEVEL
}  // namespace midfill
