// The kernels of one instruction set, as a table of functions; levels.cpp picks the table.
//
// Law of all of them: what is computed for one row does not depend on the other rows of the call,
// on how the work was cut, or on the number of threads. Float sums run in one fixed order.
#pragma once
#include "formats.h"

namespace midfill {

constexpr int PAGE = 64;    // tokens of a cache page
constexpr int SPLIT = 256;  // tokens whose softmax is one partial result; aligned at position 0

// What a kernel wants to know of 32 quantised activations q beside q itself.
struct Group {
  int32_t minus[2];  // the sum of q over the first and the second 16, negated
  int32_t minus_all;
  float weighted;  // their scale times the sum of q
};

// Rows of activations in the forms that the weights want; unused forms are null. Every row is
// padded with zeros to `stride` columns, a multiple of 32.
struct Rows {
  int stride = 0;
  float* f = nullptr;      // [rows][stride]
  uint16_t* h = nullptr;   // bfloat16 [rows][stride]
  int8_t* q = nullptr;     // [rows][stride]
  float* scale = nullptr;  // [rows][stride / 32]
  Group* group = nullptr;  // [rows][stride / 32]
};

// What one query row has gathered: softmax maximum, sum and weighted values.
struct Gathered {
  float* top;    // [rows]
  float* sum;    // [rows]
  float* value;  // [rows][width]
  int width;     // a multiple of 16
};

// Some rows of queries against up to SPLIT tokens in pages. Keys of a page, bfloat16: [4][pairs][16][2],
// 16 tokens at a time. Values: [width / 16][32][16][2], two tokens at a time. Or, with a `key_stride`,
// keys are plain rows [64][key_stride], a multiple of 32, and the values are their first columns.
struct Attention {
  const uint16_t* q;     // bfloat16 [rows][q_stride]
  int rows, q_stride;
  int pairs;             // half the key width
  int key_stride;        // of plain rows; 0: keys lie 16 tokens at a time
  float scale;
  const int32_t* seen;   // per row: how many of these tokens it sees; may be 0
  const uint16_t* const* keys;    // one per page
  const uint16_t* const* values;  // one per page; unused with a key_stride
  uint16_t* turned;               // with a key_stride: room for the values of a page
  int pages;       // in keys and values; the next one may be asked for ahead
  float* scratch;  // attention_scratch(rows) floats
};

inline size_t attention_scratch(int rows) { return static_cast<size_t>(rows) * (SPLIT + SPLIT / 2); }

// Whether weights that pass by once are best asked for with the hint that they need no cache. AMD's
// processors reach more of the memory's bandwidth so; Intel's half as much as through the second
// level (dev/LOG.md).
extern const bool beside_caches;

struct Kernels {
  const char* name;

  // Fill q, scale and group of one row from `cols` floats; cols a multiple of 32.
  void (*quantise)(const float* x, int cols, int8_t* q, float* scale, Group* group);
  void (*to_bf16)(const float* x, int n, uint16_t* out);

  // out[i][0 ..] = x[index[i]] · panels first..last-1 (+ bias); a null index is 0, 1, 2 ...
  void (*linear)(const Matrix& w, int first, int last, const Rows& x, const int32_t* index, int n,
                 float* out, ptrdiff_t out_stride);

  // out = x scaled to unit root mean square, times weight.
  void (*rms_norm)(const float* x, const float* weight, int n, float eps, float* out);
  // out[i] = silu(gate[i]) * up[i], n a multiple of 16.
  void (*swiglu)(const float* gate, const float* up, int n, float* out);
  void (*add)(float* x, const float* y, int n);                // x += y
  void (*add_scaled)(float* x, const float* y, float w, int n);  // x += w * y

  // For each query row: the largest scaled score, the sum of the exponentials and the weighted values
  // over the tokens it sees; not yet divided. Rows that see none have the sum 0.
  void (*attend)(const Attention& a, Gathered out);
  // acc becomes the two together, for one row; `first` means acc holds nothing yet.
  void (*combine)(float* top, float* sum, float* value, float top2, float sum2,
                  const float* value2, int width, bool first);

  // int8 latents: n numbers, half scales per 32, to bfloat16; and back.
  void (*latent_read8)(const int8_t* q, const uint16_t* scales, int n, uint16_t* out);
  void (*latent_write8)(const float* x, int n, int8_t* q, uint16_t* scales);

  // One page of latents expanded for one head. k_weight: bfloat16 [key_width][latent], v_weight:
  // a BF16 matrix of value_width rows. The shared rotary keys follow the expanded ones. rows: bfloat16
  // [64][stride]. latent_keys: scratch [4][(latent + rope) / 2][16][2]; keys and values as in Attention,
  // of key width key_width + rope.
  void (*expand_page)(const uint16_t* rows, int stride, int latent, int rope, const uint16_t* k_weight,
                      int key_width, const Matrix& v_weight, int value_first_panel, int value_width,
                      uint16_t* latent_keys, uint16_t* keys, uint16_t* values);
};

const Kernels& kernels();                 // of the level in use
const char* set_level(const char* name);  // null: the best this processor has; returns the one taken

}  // namespace midfill
