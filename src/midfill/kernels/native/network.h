// A whole network over packed weights: one call reads the new tokens of any number of sequences.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "formats.h"
#include "kernels.h"

namespace midfill {

// Memory that only grows. It is not initialised, and loses what it holds when it grows.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }
  T* need(size_t n) {
    if (n > size_) {
      std::free(data_);
      size_ = n + n / 4;
      size_t bytes = (size_ * sizeof(T) + 127) / 64 * 64;
      data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
      if (data_ == nullptr) throw std::bad_alloc();
    }
    return data_;
  }
  T* get() const { return data_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

struct Shape {
  int vocab = 0, dim = 0, layers = 0;
  float norm_eps = 0;
  bool latent = false;  // multi-head latent attention, else grouped-query
  int heads = 0;
  float scale = 0;      // of the softmax
  int rope_pairs = 0;   // rotated pairs
  float rope_magnitude = 1;
  // grouped-query
  int kv_heads = 0, head_dim = 0;
  // latent
  int q_rank = 0, kv_rank = 0, nope = 0, rope = 0, value = 0;
  float latent_eps = 1e-6f;
  // experts
  int experts = 0, top_k = 0, groups = 1, top_groups = 1;
  bool norm_top_k = false, group_limited = false;
  float route_scale = 1;
};

struct Layer {
  const float *attn_norm = nullptr, *ffn_norm = nullptr, *q_a_norm = nullptr, *kv_a_norm = nullptr;
  Matrix q, k, v, o, q_a, q_b, kv_a, k_up, v_up, v_expand, router;
  const uint16_t* k_expand = nullptr;  // bfloat16 [heads][nope][kv_rank]
  Matrix gate_up, down;                // dense, or the shared experts
  Matrix expert_gate_up, expert_down;  // expert 0; the others follow at these strides
  size_t gate_up_stride = 0, down_stride = 0;
};

// Where the pages lie: page p at base + p * bytes, in it the layers one after the other.
struct PageStore {
  uint8_t* base = nullptr;
  int count = 0;
  bool int8 = false;
};

// New tokens of one sequence: `rows` of them from position `start` on. Positions below `expanded` are read
// in the expanded form; the logits of the last `wanted` are given.
struct SpanIn {
  int rows, start, expanded, wanted;
  const int32_t* pages;
  int page_count;
};

class Network {
 public:
  explicit Network(const Shape& shape) : shape_(shape), layers_(shape.layers) {}

  // Named as the Python side names them; layer -1 for embed, head and norm.
  void set(const std::string& name, int layer, const Matrix& matrix);
  void set_array(const std::string& name, int layer, const float* values);
  void set_k_expand(int layer, const uint16_t* values) { layers_.at(layer).k_expand = values; }
  void set_experts(int layer, const Matrix& gate_up, size_t gate_up_stride, const Matrix& down,
                   size_t down_stride);
  void set_pages(const PageStore& store) { pages_ = store; }

  size_t page_bytes(bool int8) const { return layer_bytes(int8) * shape_.layers; }

  // Reads all spans; writes the logits [wanted][vocab] of their last tokens.
  void step(const int32_t* tokens, const std::vector<SpanIn>& spans, float* logits);
  void rotate(const int32_t* pages, int count, int by);  // keys, to other positions

 private:
  struct Row {
    int span, position;
    bool expanded;  // form of its latent attention
  };
  // Query rows of one key/value head of one sequence, and where their results go.
  struct Piece {
    int span, head, first, tokens;  // tokens of the step, counted over all spans
    int splits;
    size_t slot;     // of its first result, in query rows
    int slots;       // results per query row: one per split, or one in all
    bool expanded;
  };
  struct Forms {
    Buffer<float> f, scale;
    Buffer<uint16_t> h;
    Buffer<int8_t> q;
    Buffer<Group> group;
  };
  struct Wanted {  // forms of activations
    bool q = false, h = false;
    void add(const Matrix& w) {
      if (w.data == nullptr) return;
      q |= format(w.kind).integer;
      h |= w.kind == Kind::BF16;
    }
  };

  size_t layer_bytes(bool int8) const;
  int latent_stride() const { return (shape_.kv_rank + shape_.rope + 31) / 32 * 32; }
  uint8_t* page(int span, int index, int layer) const;
  int heads_per_piece() const { return shape_.latent ? shape_.heads : shape_.heads / shape_.kv_heads; }

  void plan(const std::vector<SpanIn>& spans);
  void plan_pieces(int span, int first, int tokens, bool expanded);
  void embed(const int32_t* tokens);
  Rows make_rows(Forms& memory, int n, int cols, Wanted wanted);
  void fill_forms(const Rows& rows, int row);
  template <class Fn> void each_row(int n, Fn&& fn);
  void norm(const float* weight, Wanted wanted);
  void linear(const std::vector<const Matrix*>& matrices, const std::vector<float*>& outs,
              int out_stride, const Rows& x, int n);
  void add_linear(const Matrix& w, const Rows& x, int n);

  void grouped_attention(const Layer& layer, int index);
  void latent_attention(const Layer& layer, int index);
  void latent_queries(const Layer& layer);
  void latent_row(const Layer& layer, int index, int row, float* kv);
  void queries_to_latents(const Layer& layer, int head, int thread);
  void latents_to_values(const Layer& layer, int head, int thread);
  void attend_all(const Layer& layer, int index);
  void attend_piece(const Piece& piece, int first_split, int last_split, int thread, int index);
  void attend_expanded(const Layer& layer, const Piece& piece, int thread, int index);
  int split_pages(const Piece& piece, int split, int thread, int index, const uint16_t** keys,
                  const uint16_t** values);
  const uint16_t* latent_rows(const uint8_t* page, uint16_t* scratch) const;
  void seen_in(const Piece& piece, int token, int tokens, int per_token, int split, int32_t* seen) const;
  size_t pages_scratch() const;
  const float* finish(const Piece& piece, int query_row);

  void feed_forward(const Layer& layer);
  void experts(const Layer& layer);
  void choose_experts(const float* logits, int row);
  void gate_up(const Matrix& w, const Rows& x, const int32_t* index, int n, const Rows& out,
               int out_row, int first, int last, int thread);
  void rotate_halves(float* x, int row) const;
  void rotate_pairs(float* x, int row) const;
  float* scratch(int thread) { return scratch_.get() + thread * scratch_each_; }

  Shape shape_;
  Matrix embed_, head_;
  const float *norm_ = nullptr, *inv_freq_ = nullptr;
  std::vector<Layer> layers_;
  PageStore pages_;

  // The step in progress.
  const std::vector<SpanIn>* spans_ = nullptr;
  int n_ = 0, stride_ = 0;  // rows, and floats of each in the residual stream
  bool any_absorbed_ = false, any_expanded_ = false;
  std::vector<Row> rows_;
  std::vector<Piece> pieces_;
  std::vector<int> piece_of_;  // [head of the piece][token]
  size_t slots_ = 0;
  int width_ = 0;  // of a result
  int query_rows_ = 0;  // of a piece, at most
  size_t scratch_each_ = 0;
  Buffer<float> x_, angles_, projected_, low_projected_, scratch_, results_, tops_, sums_, routed_;
  Buffer<uint16_t> queries_, expanded_queries_;
  Forms normed_memory_, low_memory_, heads_memory_, mixed_memory_, hidden_memory_, shared_memory_;
  Rows normed_, low_, heads_, mixed_, hidden_, shared_;
  std::vector<int32_t> chosen_, order_, begin_;
  std::vector<float> chosen_weight_, weight_;
};

}  // namespace midfill
