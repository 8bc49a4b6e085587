// Sixteen lanes, whatever the processor: one type for floats, one for integers, one for 64 bytes.
// Included by level.cpp only, which is compiled once per instruction set. Every function here is a
// plain lane-wise operation, so that the kernels above it read the same at every level.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE float bits_to_float(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

INLINE uint32_t float_to_bits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return bits;
}

// Round to nearest even; NaN stays one.
INLINE uint16_t to_bf16(float f) {
  uint32_t bits = float_to_bits(f);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 64);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#if defined(__AVX512F__)

struct F { __m512 v; };
struct I { __m512i v; };
struct B { __m512i v; };  // 64 bytes

INLINE F f_zero() { return {_mm512_setzero_ps()}; }
INLINE F f_set(float x) { return {_mm512_set1_ps(x)}; }
INLINE F f_load(const float* p) { return {_mm512_loadu_ps(p)}; }
INLINE void f_store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
INLINE F f_add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
INLINE F f_sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
INLINE F f_mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
INLINE F f_div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
INLINE F f_max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
INLINE F f_min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
INLINE F f_fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
INLINE F f_abs(F a) { return {_mm512_abs_ps(a.v)}; }
INLINE F f_from_int(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
INLINE I i_round(F a) { return {_mm512_cvtps_epi32(a.v)}; }
INLINE I i_set(int32_t x) { return {_mm512_set1_epi32(x)}; }
INLINE I i_add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
template <int n> INLINE I i_shl(I a) { return {_mm512_slli_epi32(a.v, n)}; }
INLINE F f_from_bits(I a) { return {_mm512_castsi512_ps(a.v)}; }
INLINE int32_t i_sum(I a) { return _mm512_reduce_add_epi32(a.v); }
INLINE float f_top(F a) { return _mm512_reduce_max_ps(a.v); }
INLINE void i_store(int32_t* p, I a) { _mm512_storeu_si512(p, a.v); }
INLINE void i_store_bytes(int8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
INLINE F f_load_half(const void* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}
INLINE F f_load_u8(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)))};
}
INLINE F f_load_i8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)))};
}
// The even and the odd of 32 interleaved halves.
INLINE F f_even_half(const void* p) {
  return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_loadu_si512(p)))};
}
INLINE F f_odd_half(const void* p) {
  return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_loadu_si512(p), 16)))};
}
INLINE void f_store_bf16(uint16_t* p, F a) {
#if defined(__AVX512BF16__)
  __m256bh h = _mm512_cvtneps_pbh(a.v);
  memcpy(p, &h, 32);
#else
  __m512i bits = _mm512_castps_si512(a.v);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
#endif
}

// Two vectors as bfloat16, lane by lane: [16][2].
INLINE void f_store_pairs(uint16_t* p, F even, F odd) {
  alignas(32) uint16_t both[32];
  f_store_bf16(both, even);
  f_store_bf16(both + 16, odd);
  __m512i low = _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i*)both));
  __m512i high = _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i*)(both + 16)));
  _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

INLINE B b_load(const void* p) { return {_mm512_loadu_si512(p)}; }
INLINE B b_low4(B a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
INLINE B b_high4(B a) {
  return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(15))};
}
INLINE B b_or(B a, B b) { return {_mm512_or_si512(a.v, b.v)}; }
// Two bits at `shift` of every byte, moved to bit 0.
template <int shift> INLINE B b_two(B a) {
  return {_mm512_and_si512(_mm512_srli_epi16(a.v, shift), _mm512_set1_epi8(3))};
}
template <int shift> INLINE B b_shl(B a) { return {_mm512_slli_epi16(a.v, shift)}; }  // no carry out
// 64 bits to 64 bytes of 0 or `value`.
template <int value> INLINE B b_bits(const void* p) {
  uint64_t bits;
  memcpy(&bits, p, 8);
  return {_mm512_maskz_set1_epi8(bits, value)};
}
// acc[lane] += four unsigned bytes of w times four signed bytes of x.
template <bool wide> INLINE I i_dot4(I acc, B w, int32_t x) {
  return {_mm512_dpbusd_epi32(acc.v, w.v, _mm512_set1_epi32(x))};
}
// acc[lane] += two bfloat16 of w times two of x.
INLINE F f_dot2(F acc, B w, uint32_t x) {
#if defined(__AVX512BF16__)
  return {_mm512_dpbf16_ps(acc.v, (__m512bh)w.v, (__m512bh)_mm512_set1_epi32(x))};
#else
  __m512 low = _mm512_castsi512_ps(_mm512_slli_epi32(w.v, 16));
  __m512 high = _mm512_castsi512_ps(_mm512_and_si512(w.v, _mm512_set1_epi32(0xffff0000)));
  acc.v = _mm512_fmadd_ps(low, _mm512_set1_ps(bits_to_float(x << 16)), acc.v);
  return {_mm512_fmadd_ps(high, _mm512_set1_ps(bits_to_float(x & 0xffff0000)), acc.v)};
#endif
}
// acc[lane] += two bfloat16 of a times two of b.
INLINE F f_dot2(F acc, B a, B b) {
#if defined(__AVX512BF16__)
  return {_mm512_dpbf16_ps(acc.v, (__m512bh)a.v, (__m512bh)b.v)};
#else
  __m512i top = _mm512_set1_epi32(0xffff0000);
  acc.v = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a.v, 16)),
                          _mm512_castsi512_ps(_mm512_slli_epi32(b.v, 16)), acc.v);
  return {_mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a.v, top)),
                          _mm512_castsi512_ps(_mm512_and_si512(b.v, top)), acc.v)};
#endif
}
// Lane i: the sum of v[i].
INLINE F f_sums(const F (&v)[16]) {
  __m512 fours[4];
  for (int i = 0; i < 4; i++) {
    __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(v[4 * i].v, v[4 * i + 1].v),
                             _mm512_unpackhi_ps(v[4 * i].v, v[4 * i + 1].v));
    __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(v[4 * i + 2].v, v[4 * i + 3].v),
                             _mm512_unpackhi_ps(v[4 * i + 2].v, v[4 * i + 3].v));
    __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
    fours[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
  }
  __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(fours[0], fours[1], 0x88),
                             _mm512_shuffle_f32x4(fours[0], fours[1], 0xdd));
  __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(fours[2], fours[3], 0x88),
                              _mm512_shuffle_f32x4(fours[2], fours[3], 0xdd));
  return {_mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd))};
}
constexpr int BLOCK_ROWS = 8;  // rows of a register block of the kernels

#elif defined(__AVX2__)

struct F { __m256 a, b; };
struct I { __m256i a, b; };
struct B { __m256i a, b; };

INLINE F f_zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
INLINE F f_set(float x) { __m256 v = _mm256_set1_ps(x); return {v, v}; }
INLINE F f_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
INLINE void f_store(float* p, F x) { _mm256_storeu_ps(p, x.a); _mm256_storeu_ps(p + 8, x.b); }
INLINE F f_add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
INLINE F f_sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
INLINE F f_mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
INLINE F f_div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
INLINE F f_max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
INLINE F f_min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
INLINE F f_fma(F x, F y, F z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
INLINE F f_abs(F x) {
  __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
INLINE F f_from_int(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
INLINE I i_round(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
INLINE I i_set(int32_t x) { __m256i v = _mm256_set1_epi32(x); return {v, v}; }
INLINE I i_add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
template <int n> INLINE I i_shl(I x) { return {_mm256_slli_epi32(x.a, n), _mm256_slli_epi32(x.b, n)}; }
INLINE F f_from_bits(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
INLINE void i_store(int32_t* p, I x) {
  _mm256_storeu_si256((__m256i*)p, x.a);
  _mm256_storeu_si256((__m256i*)(p + 8), x.b);
}
INLINE void i_store_bytes(int8_t* p, I x) {
  int32_t lanes[16];
  i_store(lanes, x);
  for (int i = 0; i < 16; i++) p[i] = static_cast<int8_t>(lanes[i]);
}
INLINE F f_load_half(const void* p) {
  const __m128i* h = static_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}
INLINE F f_load_u8(const uint8_t* p) {
  __m128i v = _mm_loadu_si128((const __m128i*)p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(v, 8)))};
}
INLINE F f_load_i8(const int8_t* p) {
  __m128i v = _mm_loadu_si128((const __m128i*)p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)))};
}
INLINE F half_lanes(const void* p, int odd) {
  uint16_t all[32], picked[16];
  memcpy(all, p, 64);
  for (int i = 0; i < 16; i++) picked[i] = all[2 * i + odd];
  return f_load_half(picked);
}
INLINE F f_even_half(const void* p) { return half_lanes(p, 0); }
INLINE F f_odd_half(const void* p) { return half_lanes(p, 1); }
INLINE void f_store_bf16(uint16_t* p, F x) {
  float lanes[16];
  f_store(lanes, x);
  for (int i = 0; i < 16; i++) p[i] = to_bf16(lanes[i]);
}

INLINE void f_store_pairs(uint16_t* p, F even, F odd) {
  uint16_t both[32];
  f_store_bf16(both, even);
  f_store_bf16(both + 16, odd);
  for (int i = 0; i < 16; i++) {
    p[2 * i] = both[i];
    p[2 * i + 1] = both[16 + i];
  }
}

INLINE B b_load(const void* p) {
  const __m256i* v = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
INLINE B b_and(B x, int mask) {
  __m256i m = _mm256_set1_epi8(static_cast<char>(mask));
  return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
INLINE B b_low4(B x) { return b_and(x, 15); }
INLINE B b_high4(B x) {
  return b_and({_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)}, 15);
}
INLINE B b_or(B x, B y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
template <int shift> INLINE B b_two(B x) {
  return b_and({_mm256_srli_epi16(x.a, shift), _mm256_srli_epi16(x.b, shift)}, 3);
}
template <int shift> INLINE B b_shl(B x) {
  return {_mm256_slli_epi16(x.a, shift), _mm256_slli_epi16(x.b, shift)};
}
INLINE __m256i bits32(uint32_t bits, int value) {
  __m256i spread = _mm256_shuffle_epi8(
      _mm256_set1_epi32(static_cast<int>(bits)),
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  __m256i each = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  __m256i on = _mm256_cmpeq_epi8(_mm256_and_si256(spread, each), each);
  return _mm256_and_si256(on, _mm256_set1_epi8(static_cast<char>(value)));
}
template <int value> INLINE B b_bits(const void* p) {
  uint32_t halves[2];
  memcpy(halves, p, 8);
  return {bits32(halves[0], value), bits32(halves[1], value)};
}
INLINE __m256i pair_sums(__m256i w, __m256i x) {  // exact while |sums| of two stay below 2^15
  return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}
// `wide`: bytes above 127 occur, whose products of two would not fit 16 bits; they go in two parts.
template <bool wide> INLINE I i_dot4(I acc, B w, int32_t x) {
  __m256i v = _mm256_set1_epi32(x);
  if (wide) {
    B high = b_and(w, 128);
    w = b_and(w, 127);
    acc.a = _mm256_add_epi32(acc.a, pair_sums(high.a, v));
    acc.b = _mm256_add_epi32(acc.b, pair_sums(high.b, v));
  }
  return {_mm256_add_epi32(acc.a, pair_sums(w.a, v)), _mm256_add_epi32(acc.b, pair_sums(w.b, v))};
}
INLINE F f_dot2(F acc, B w, uint32_t x) {
  F low = {_mm256_castsi256_ps(_mm256_slli_epi32(w.a, 16)),
           _mm256_castsi256_ps(_mm256_slli_epi32(w.b, 16))};
  __m256i top = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  F high = {_mm256_castsi256_ps(_mm256_and_si256(w.a, top)),
            _mm256_castsi256_ps(_mm256_and_si256(w.b, top))};
  acc = f_fma(low, f_set(bits_to_float(x << 16)), acc);
  return f_fma(high, f_set(bits_to_float(x & 0xffff0000)), acc);
}
INLINE F f_dot2(F acc, B x, B y) {
  __m256i top = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  F low = {_mm256_castsi256_ps(_mm256_slli_epi32(x.a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(x.b, 16))};
  F by = {_mm256_castsi256_ps(_mm256_slli_epi32(y.a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(y.b, 16))};
  acc = f_fma(low, by, acc);
  F high = {_mm256_castsi256_ps(_mm256_and_si256(x.a, top)), _mm256_castsi256_ps(_mm256_and_si256(x.b, top))};
  F with = {_mm256_castsi256_ps(_mm256_and_si256(y.a, top)), _mm256_castsi256_ps(_mm256_and_si256(y.b, top))};
  return f_fma(high, with, acc);
}
INLINE int32_t i_sum(I a) {
  int32_t v[16], total = 0;
  i_store(v, a);
  for (int i = 0; i < 16; i++) total += v[i];
  return total;
}
INLINE float f_top(F a) {
  float v[16];
  f_store(v, a);
  float top = v[0];
  for (int i = 1; i < 16; i++) top = v[i] > top ? v[i] : top;
  return top;
}
constexpr int BLOCK_ROWS = 2;

#else  // plain C++

struct F { float v[16]; };
struct I { int32_t v[16]; };
struct B { uint8_t v[64]; };
#define LANES for (int i = 0; i < 16; i++)
#define BYTES for (int i = 0; i < 64; i++)

INLINE F f_set(float x) { F r; LANES r.v[i] = x; return r; }
INLINE F f_zero() { return f_set(0.0f); }
INLINE F f_load(const float* p) { F r; memcpy(r.v, p, 64); return r; }
INLINE void f_store(float* p, F a) { memcpy(p, a.v, 64); }
INLINE F f_add(F a, F b) { LANES a.v[i] += b.v[i]; return a; }
INLINE F f_sub(F a, F b) { LANES a.v[i] -= b.v[i]; return a; }
INLINE F f_mul(F a, F b) { LANES a.v[i] *= b.v[i]; return a; }
INLINE F f_div(F a, F b) { LANES a.v[i] /= b.v[i]; return a; }
INLINE F f_max(F a, F b) { LANES a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
INLINE F f_min(F a, F b) { LANES a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
INLINE F f_fma(F a, F b, F c) { LANES c.v[i] += a.v[i] * b.v[i]; return c; }  // rounded twice
INLINE F f_abs(F a) { LANES a.v[i] = fabsf(a.v[i]); return a; }
INLINE F f_from_int(I a) { F r; LANES r.v[i] = static_cast<float>(a.v[i]); return r; }
INLINE I i_round(F a) { I r; LANES r.v[i] = static_cast<int32_t>(rintf(a.v[i])); return r; }
INLINE I i_set(int32_t x) { I r; LANES r.v[i] = x; return r; }
INLINE I i_add(I a, I b) { LANES a.v[i] += b.v[i]; return a; }
template <int n> INLINE I i_shl(I a) { LANES a.v[i] = static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) << n); return a; }
INLINE F f_from_bits(I a) { F r; memcpy(r.v, a.v, 64); return r; }
INLINE void i_store(int32_t* p, I a) { memcpy(p, a.v, 64); }
INLINE void i_store_bytes(int8_t* p, I a) { LANES p[i] = static_cast<int8_t>(a.v[i]); }
INLINE float half_to_float(uint16_t h) {
  uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exponent = (h >> 10) & 31;
  uint32_t fraction = h & 1023;
  if (exponent == 31) return bits_to_float(sign | 0x7f800000 | (fraction << 13));
  if (exponent) return bits_to_float(sign | ((exponent + 112) << 23) | (fraction << 13));
  float tiny = static_cast<float>(fraction) * bits_to_float(0x33800000);  // times 2^-24
  return sign ? -tiny : tiny;
}
INLINE F half_lanes(const void* p, int first, int step) {
  uint16_t all[32];
  memcpy(all, p, step == 1 ? 32 : 64);
  F r;
  LANES r.v[i] = half_to_float(all[first + step * i]);
  return r;
}
INLINE F f_load_half(const void* p) { return half_lanes(p, 0, 1); }
INLINE F f_even_half(const void* p) { return half_lanes(p, 0, 2); }
INLINE F f_odd_half(const void* p) { return half_lanes(p, 1, 2); }
INLINE F f_load_u8(const uint8_t* p) { F r; LANES r.v[i] = p[i]; return r; }
INLINE F f_load_i8(const int8_t* p) { F r; LANES r.v[i] = p[i]; return r; }
INLINE void f_store_bf16(uint16_t* p, F a) { LANES p[i] = to_bf16(a.v[i]); }

INLINE void f_store_pairs(uint16_t* p, F even, F odd) {
  uint16_t both[32];
  f_store_bf16(both, even);
  f_store_bf16(both + 16, odd);
  for (int i = 0; i < 16; i++) {
    p[2 * i] = both[i];
    p[2 * i + 1] = both[16 + i];
  }
}

INLINE B b_load(const void* p) { B r; memcpy(r.v, p, 64); return r; }
INLINE B b_low4(B a) { BYTES a.v[i] &= 15; return a; }
INLINE B b_high4(B a) { BYTES a.v[i] >>= 4; return a; }
INLINE B b_or(B a, B b) { BYTES a.v[i] |= b.v[i]; return a; }
template <int shift> INLINE B b_two(B a) { BYTES a.v[i] = (a.v[i] >> shift) & 3; return a; }
template <int shift> INLINE B b_shl(B a) { BYTES a.v[i] = static_cast<uint8_t>(a.v[i] << shift); return a; }
template <int value> INLINE B b_bits(const void* p) {
  const uint8_t* bits = static_cast<const uint8_t*>(p);
  B r;
  BYTES r.v[i] = (bits[i / 8] >> (i % 8)) & 1 ? value : 0;
  return r;
}
template <bool wide> INLINE I i_dot4(I acc, B w, int32_t x) {
  int8_t v[4];
  memcpy(v, &x, 4);
  LANES acc.v[i] += w.v[4 * i] * v[0] + w.v[4 * i + 1] * v[1] + w.v[4 * i + 2] * v[2] +
                    w.v[4 * i + 3] * v[3];
  return acc;
}
INLINE F f_dot2(F acc, B w, uint32_t x) {
  float low = bits_to_float(x << 16), high = bits_to_float(x & 0xffff0000);
  uint32_t pairs[16];
  memcpy(pairs, w.v, 64);
  LANES acc.v[i] += bits_to_float(pairs[i] << 16) * low;
  LANES acc.v[i] += bits_to_float(pairs[i] & 0xffff0000) * high;
  return acc;
}
INLINE int32_t i_sum(I a) {
  int32_t v[16], total = 0;
  i_store(v, a);
  for (int i = 0; i < 16; i++) total += v[i];
  return total;
}
INLINE float f_top(F a) {
  float v[16];
  f_store(v, a);
  float top = v[0];
  for (int i = 1; i < 16; i++) top = v[i] > top ? v[i] : top;
  return top;
}
INLINE F f_dot2(F acc, B a, B b) {
  uint32_t x[16], y[16];
  memcpy(x, a.v, 64);
  memcpy(y, b.v, 64);
  LANES acc.v[i] += bits_to_float(x[i] << 16) * bits_to_float(y[i] << 16);
  LANES acc.v[i] += bits_to_float(x[i] & 0xffff0000) * bits_to_float(y[i] & 0xffff0000);
  return acc;
}
constexpr int BLOCK_ROWS = 2;
#undef LANES
#undef BYTES

#endif

// e^x in every lane, within 2 units in the last place; underflows to 0 below -87.
INLINE F f_exp(F x) {
  x = f_max(f_min(x, f_set(88.0f)), f_set(-87.3f));
  F turns = f_from_int(i_round(f_mul(x, f_set(1.44269504f))));
  F r = f_fma(turns, f_set(-0.693359375f), x);
  r = f_fma(turns, f_set(2.12194440e-4f), r);
  F p = f_set(1.9875691500e-4f);
  p = f_fma(p, r, f_set(1.3981999507e-3f));
  p = f_fma(p, r, f_set(8.3334519073e-3f));
  p = f_fma(p, r, f_set(4.1665795894e-2f));
  p = f_fma(p, r, f_set(1.6666665459e-1f));
  p = f_fma(p, r, f_set(5.0000001201e-1f));
  p = f_fma(f_mul(r, r), p, f_add(r, f_set(1.0f)));
  return f_mul(p, f_from_bits(i_shl<23>(i_add(i_round(turns), i_set(127)))));
}

INLINE float f_sum(F a) {  // a fixed tree, the same at every level
  float v[16];
  f_store(v, a);
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) v[i] += v[i + half];
  return v[0];
}

#if !defined(__AVX512F__)
INLINE F f_sums(const F (&v)[16]) {  // lane i: the sum of v[i]
  float sums[16];
  for (int i = 0; i < 16; i++) sums[i] = f_sum(v[i]);
  return f_load(sums);
}
#endif
