#include "network.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "pack.h"
#include "pool.h"

namespace midfill {

namespace {

constexpr int QUERY_ROWS = 64;       // query rows of a piece of attention
constexpr int CHUNK_ROWS = 128;      // rows of activations that a thread's scratch holds at once
constexpr int FEW_ROWS = 8;          // a weight is streamed once for so many (BLOCK_ROWS); more are prepared
constexpr int PANELS_TOGETHER = 8;   // with more rows, panels of a task
constexpr int GROUPS_TOGETHER = 4;   // and groups of 4 panels of gate and up
constexpr size_t TASK_BYTES = 131072;  // of weights, about: small enough to balance the threads

int round_up(int n, int to) { return (n + to - 1) / to * to; }

Rows from_row(Rows rows, int row) {
  size_t at = static_cast<size_t>(row) * rows.stride;
  if (rows.f) rows.f += at;
  if (rows.h) rows.h += at;
  if (rows.q) {
    rows.q += at;
    rows.scale += at / 32;
    rows.group += at / 32;
  }
  return rows;
}

uint16_t round_bf16(float f) {
  uint16_t h;
  kernels().to_bf16(&f, 1, &h);
  return h;
}

float read_bf16(uint16_t h) {
  uint32_t bits = static_cast<uint32_t>(h) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

}  // namespace

// ------------------------------------------------------------------------------------- weights

void Network::set(const std::string& name, int layer, const Matrix& matrix) {
  if (layer < 0) {
    (name == "embed" ? embed_ : head_) = matrix;
    return;
  }
  Layer& l = layers_.at(layer);
  struct { const char* name; Matrix* where; } all[] = {
      {"q", &l.q},       {"k", &l.k},       {"v", &l.v},           {"o", &l.o},
      {"q_a", &l.q_a},   {"q_b", &l.q_b},   {"kv_a", &l.kv_a},     {"k_up", &l.k_up},
      {"v_up", &l.v_up}, {"v_expand", &l.v_expand}, {"router", &l.router},
      {"gate_up", &l.gate_up}, {"down", &l.down}};
  for (auto& one : all)
    if (name == one.name) {
      *one.where = matrix;
      return;
    }
  throw std::invalid_argument("no matrix of a layer is called " + name);
}

void Network::set_array(const std::string& name, int layer, const float* values) {
  if (name == "norm") norm_ = values;
  else if (name == "inv_freq") inv_freq_ = values;
  else if (name == "attn_norm") layers_.at(layer).attn_norm = values;
  else if (name == "ffn_norm") layers_.at(layer).ffn_norm = values;
  else if (name == "q_a_norm") layers_.at(layer).q_a_norm = values;
  else if (name == "kv_a_norm") layers_.at(layer).kv_a_norm = values;
  else throw std::invalid_argument("no array is called " + name);
}

void Network::set_experts(int layer, const Matrix& gate_up, size_t gate_up_stride,
                          const Matrix& down, size_t down_stride) {
  Layer& l = layers_.at(layer);
  l.expert_gate_up = gate_up;
  l.expert_down = down;
  l.gate_up_stride = gate_up_stride;
  l.down_stride = down_stride;
}

// --------------------------------------------------------------------------------------- pages

size_t Network::layer_bytes(bool int8) const {
  if (shape_.latent) {
    size_t z = latent_stride();
    return PAGE * (int8 ? z + z / 32 * 2 : 2 * z);
  }
  size_t value = round_up(shape_.head_dim, 16);
  return static_cast<size_t>(shape_.kv_heads) * PAGE * 2 * (shape_.head_dim + value);
}

uint8_t* Network::page(int span, int index, int layer) const {
  size_t each = layer_bytes(pages_.int8);
  size_t number = static_cast<size_t>((*spans_)[span].pages[index]);
  return pages_.base + (number * shape_.layers + layer) * each;
}

// -------------------------------------------------------------------------------------- a step

void Network::step(const int32_t* tokens, const std::vector<SpanIn>& spans, float* logits) {
  plan(spans);
  embed(tokens);
  for (int index = 0; index < shape_.layers; index++) {
    const Layer& layer = layers_[index];
    if (shape_.latent) latent_attention(layer, index);
    else grouped_attention(layer, index);
    if (layer.expert_down.data) experts(layer);
    else feed_forward(layer);
  }
  std::vector<int> wanted;
  int end = 0;
  for (const SpanIn& span : spans) {
    end += span.rows;
    for (int i = span.wanted; i > 0; i--) wanted.push_back(end - i);
  }
  if (wanted.empty()) return;
  const Matrix& head = head_.data ? head_ : embed_;
  Wanted forms;
  forms.add(head);
  int n = static_cast<int>(wanted.size());
  normed_ = make_rows(normed_memory_, n, shape_.dim, forms);
  each_row(n, [&](int i) {
    float* out = normed_.f + static_cast<size_t>(i) * normed_.stride;
    kernels().rms_norm(x_.get() + static_cast<size_t>(wanted[i]) * stride_, norm_, shape_.dim,
                       shape_.norm_eps, out);
    fill_forms(normed_, i);
  });
  linear({&head}, {logits}, round_up(shape_.vocab, 16), normed_, n);
}

void Network::plan(const std::vector<SpanIn>& spans) {
  spans_ = &spans;
  rows_.clear();
  pieces_.clear();
  slots_ = 0;
  any_absorbed_ = any_expanded_ = false;
  int first = 0, count = static_cast<int>(spans.size());
  for (int s = 0; s < count; s++) {
    for (int i = 0; i < spans[s].rows; i++) {
      int position = spans[s].start + i;
      bool expanded = shape_.latent && position < spans[s].expanded;
      (expanded ? any_expanded_ : any_absorbed_) = true;
      rows_.push_back({s, position, expanded});
    }
  }
  n_ = static_cast<int>(rows_.size());
  width_ = shape_.latent ? (any_absorbed_ ? shape_.kv_rank : 0) : round_up(shape_.head_dim, 16);
  if (any_expanded_) width_ = std::max(width_, shape_.value);
  for (int s = 0; s < count; s++) {
    int expanded = 0;
    while (expanded < spans[s].rows && rows_[first + expanded].expanded) expanded++;
    if (expanded) plan_pieces(s, first, expanded, true);
    if (expanded < spans[s].rows) plan_pieces(s, first + expanded, spans[s].rows - expanded, false);
    first += spans[s].rows;
  }
  int heads = shape_.latent ? shape_.heads : shape_.kv_heads;
  piece_of_.assign(static_cast<size_t>(heads) * n_, -1);
  for (size_t p = 0; p < pieces_.size(); p++) {
    const Piece& piece = pieces_[p];
    for (int i = 0; i < piece.tokens; i++)
      piece_of_[static_cast<size_t>(piece.head) * n_ + piece.first + i] = static_cast<int>(p);
  }
  results_.need(slots_ * width_);
  tops_.need(slots_);
  sums_.need(slots_);

  stride_ = round_up(shape_.dim, 32);
  x_.need(static_cast<size_t>(n_) * stride_);
  float* angles = angles_.need(static_cast<size_t>(n_) * shape_.rope_pairs * 2);
  for (int row = 0; row < n_; row++)
    for (int i = 0; i < shape_.rope_pairs; i++) {
      float angle = static_cast<float>(rows_[row].position) * inv_freq_[i];
      float* out = angles + (static_cast<size_t>(row) * shape_.rope_pairs + i) * 2;
      out[0] = cosf(angle) * shape_.rope_magnitude;
      out[1] = sinf(angle) * shape_.rope_magnitude;
    }

  // What a thread may need at once: tiles of a product, or pages and scores of attention.
  size_t tiles = static_cast<size_t>(CHUNK_ROWS) * std::max({256, shape_.kv_rank, shape_.value});
  query_rows_ = std::max(QUERY_ROWS, heads_per_piece());
  size_t attention = pages_scratch();
  if (shape_.latent) {
    size_t z = latent_stride(), u = shape_.nope + shape_.rope;
    size_t absorbed = (SPLIT * z + PAGE * shape_.kv_rank) / 2;                // read from int8; turned
    size_t expanded = (2 * PAGE * z + SPLIT * (u + shape_.value)) / 2;        // read, transposed, expanded
    attention += std::max(absorbed, expanded) + 64;
  }
  scratch_each_ = round_up(static_cast<int>(std::max(tiles, attention)), 64);
  scratch_.need(scratch_each_ * Pool::shared().threads());
}

// Floats of a thread's scratch in front of the pages: scores, and a result beside the one kept.
size_t Network::pages_scratch() const {
  return attention_scratch(query_rows_) + static_cast<size_t>(query_rows_) * (width_ + 2);
}

void Network::plan_pieces(int span, int first, int tokens, bool expanded) {
  int per_token = expanded ? 1 : heads_per_piece();
  int heads = expanded ? shape_.heads : shape_.latent ? 1 : shape_.kv_heads;
  int at_once = expanded ? tokens : std::max(QUERY_ROWS / per_token, 1);
  int total = heads * ((tokens + at_once - 1) / at_once);
  bool in_splits = !expanded && (tokens == 1 || total < 8 * Pool::shared().threads());
  for (int head = 0; head < heads; head++)
    for (int at = 0; at < tokens; at += at_once) {
      Piece piece;
      piece.span = span;
      piece.head = head;
      piece.first = first + at;
      piece.tokens = std::min(at_once, tokens - at);
      piece.splits = (rows_[piece.first + piece.tokens - 1].position + SPLIT) / SPLIT;
      piece.slots = in_splits ? piece.splits : 1;
      piece.slot = slots_;
      piece.expanded = expanded;
      slots_ += static_cast<size_t>(piece.slots) * piece.tokens * per_token;
      pieces_.push_back(piece);
    }
}

void Network::embed(const int32_t* tokens) {
  each_row(n_, [&](int row) {
    float* out = x_.get() + static_cast<size_t>(row) * stride_;
    read_row(embed_.kind, embed_.data, tokens[row], shape_.dim, out);
    std::fill(out + shape_.dim, out + stride_, 0.0f);
  });
}

// ----------------------------------------------------------------------------------- the rows

Rows Network::make_rows(Forms& memory, int n, int cols, Wanted wanted) {
  Rows rows;
  rows.stride = round_up(cols, 32);
  size_t size = static_cast<size_t>(n) * rows.stride;
  rows.f = memory.f.need(size);
  if (rows.stride != cols)
    for (int i = 0; i < n; i++)
      std::fill(rows.f + static_cast<size_t>(i) * rows.stride + cols,
                rows.f + static_cast<size_t>(i + 1) * rows.stride, 0.0f);
  if (wanted.h) rows.h = memory.h.need(size);
  if (wanted.q) {
    rows.q = memory.q.need(size);
    rows.scale = memory.scale.need(size / 32);
    rows.group = memory.group.need(size / 32);
  }
  return rows;
}

void Network::fill_forms(const Rows& all, int row) {
  Rows one = from_row(all, row);
  if (one.q) kernels().quantise(one.f, one.stride, one.q, one.scale, one.group);
  if (one.h) kernels().to_bf16(one.f, one.stride, one.h);
}

template <class Fn>
void Network::each_row(int n, Fn&& fn) {
  constexpr int together = 4;
  Pool::shared().run((n + together - 1) / together, [&](int task, int) {
    for (int row = together * task; row < std::min(n, together * (task + 1)); row++) fn(row);
  });
}

void Network::norm(const float* weight, Wanted wanted) {
  normed_ = make_rows(normed_memory_, n_, shape_.dim, wanted);
  each_row(n_, [&](int row) {
    kernels().rms_norm(x_.get() + static_cast<size_t>(row) * stride_, weight, shape_.dim,
                       shape_.norm_eps, normed_.f + static_cast<size_t>(row) * normed_.stride);
    fill_forms(normed_, row);
  });
}

namespace {

// In how many tasks `total` pieces of weights are cut. With many rows a task has `together` pieces: what
// a kernel does to the rows first, it does once for all of them.
int tasks_of(int total, int together, size_t bytes, int n) {
  const int least = std::min(total, 4 * Pool::shared().threads());
  const int most = n > FEW_ROWS ? std::max(least, total / together) : total;
  return std::clamp(static_cast<int>(bytes * std::min(n, 16) / TASK_BYTES), least, most);
}

}  // namespace

void Network::linear(const std::vector<const Matrix*>& matrices, const std::vector<float*>& outs,
                     int out_stride, const Rows& x, int n) {
  int total = 0;
  size_t bytes = 0;
  for (const Matrix* w : matrices) {
    int panels = (w->rows + PANEL - 1) / PANEL;
    total += panels;
    bytes += panels * w->panel_stride();
  }
  const int tasks = tasks_of(total, PANELS_TOGETHER, bytes, n);
  Pool::shared().run(tasks, [&](int task, int) {
    int from = static_cast<int>(static_cast<int64_t>(total) * task / tasks);
    int to = static_cast<int>(static_cast<int64_t>(total) * (task + 1) / tasks);
    int at = 0;
    for (size_t m = 0; m < matrices.size(); m++) {
      int panels = (matrices[m]->rows + PANEL - 1) / PANEL;
      int first = std::max(from - at, 0), last = std::min(to - at, panels);
      if (first < last)
        kernels().linear(*matrices[m], first, last, x, nullptr, n, outs[m] + 16 * first, out_stride);
      at += panels;
    }
  });
}

void Network::add_linear(const Matrix& w, const Rows& x, int n) {
  int total = (w.rows + PANEL - 1) / PANEL;
  size_t bytes = total * w.panel_stride();
  const int tasks = std::max(tasks_of(total, PANELS_TOGETHER, bytes, n), (total + 15) / 16);
  Pool::shared().run(tasks, [&](int task, int thread) {
    int first = static_cast<int>(static_cast<int64_t>(total) * task / tasks);
    int last = static_cast<int>(static_cast<int64_t>(total) * (task + 1) / tasks);
    int cols = 16 * (last - first);
    float* tile = scratch(thread);
    for (int row = 0; row < n; row += CHUNK_ROWS) {
      int m = std::min(CHUNK_ROWS, n - row);
      kernels().linear(w, first, last, from_row(x, row), nullptr, m, tile, cols);
      for (int i = 0; i < m; i++)
        kernels().add(x_.get() + static_cast<size_t>(row + i) * stride_ + 16 * first,
                      tile + static_cast<size_t>(i) * cols, cols);
    }
  });
}

void Network::rotate_halves(float* x, int row) const {
  const float* angles = angles_.get() + static_cast<size_t>(row) * shape_.rope_pairs * 2;
  int half = shape_.rope_pairs;
  for (int i = 0; i < half; i++) {
    float a = x[i], b = x[i + half], c = angles[2 * i], s = angles[2 * i + 1];
    x[i] = a * c - b * s;
    x[i + half] = b * c + a * s;
  }
}

void Network::rotate_pairs(float* x, int row) const {
  const float* angles = angles_.get() + static_cast<size_t>(row) * shape_.rope_pairs * 2;
  for (int i = 0; i < shape_.rope_pairs; i++) {
    float a = x[2 * i], b = x[2 * i + 1], c = angles[2 * i], s = angles[2 * i + 1];
    x[2 * i] = a * c - b * s;
    x[2 * i + 1] = a * s + b * c;
  }
}

// --------------------------------------------------------------------- grouped-query attention

void Network::grouped_attention(const Layer& layer, int index) {
  const int H = shape_.heads, J = shape_.kv_heads, Q = H / J, U = shape_.head_dim;
  const int q_cols = round_up(H * U, 16), kv_cols = round_up(J * U, 16);
  const int cols = q_cols + 2 * kv_cols;
  Wanted forms;
  for (const Matrix* w : {&layer.q, &layer.k, &layer.v}) forms.add(*w);
  norm(layer.attn_norm, forms);
  float* all = projected_.need(static_cast<size_t>(n_) * cols);
  linear({&layer.q, &layer.k, &layer.v}, {all, all + q_cols, all + q_cols + kv_cols}, cols, normed_, n_);

  uint16_t* queries = queries_.need(static_cast<size_t>(n_) * H * U);
  const int V = round_up(U, 16), pairs = U / 2;
  each_row(n_, [&](int row) {
    float* q = all + static_cast<size_t>(row) * cols;
    float *k = q + q_cols, *v = k + kv_cols;
    for (int h = 0; h < H; h++) {
      rotate_halves(q + h * U, row);
      uint16_t* out = queries + ((static_cast<size_t>(h / Q) * n_ + row) * Q + h % Q) * U;
      kernels().to_bf16(q + h * U, U, out);
    }
    int position = rows_[row].position, slot = position % PAGE, lane = slot % 16;
    uint16_t* to = reinterpret_cast<uint16_t*>(page(rows_[row].span, position / PAGE, index));
    std::vector<uint16_t> numbers(V);
    for (int j = 0; j < J; j++, to += PAGE * (U + V)) {
      rotate_halves(k + j * U, row);
      kernels().to_bf16(k + j * U, U, numbers.data());
      for (int i = 0; i < pairs; i++)
        memcpy(to + (static_cast<size_t>(slot / 16) * pairs + i) * 32 + 2 * lane, &numbers[2 * i], 4);
      kernels().to_bf16(v + j * U, U, numbers.data());
      uint16_t* values = to + PAGE * U;
      for (int i = 0; i < U; i++)
        values[((i / 16) * 32 + slot / 2) * 32 + (i % 16) * 2 + slot % 2] = numbers[i];
    }
  });

  attend_all(layer, index);
  Wanted mixed_forms;
  mixed_forms.add(layer.o);
  mixed_ = make_rows(mixed_memory_, n_, H * U, mixed_forms);
  each_row(n_, [&](int row) {
    float* out = mixed_.f + static_cast<size_t>(row) * mixed_.stride;
    for (int h = 0; h < H; h++) {
      const Piece& piece = pieces_[piece_of_[static_cast<size_t>(h / Q) * n_ + row]];
      const float* value = finish(piece, (row - piece.first) * Q + h % Q);
      memcpy(out + h * U, value, sizeof(float) * U);
    }
    fill_forms(mixed_, row);
  });
  add_linear(layer.o, mixed_, n_);
}

// ---------------------------------------------------------------------------- latent attention

void Network::latent_attention(const Layer& layer, int index) {
  latent_queries(layer);
  const int q_cols = round_up(shape_.heads * (shape_.nope + shape_.rope), 16);
  const int kv_cols = round_up(shape_.kv_rank + shape_.rope, 16);
  size_t z = latent_stride();
  queries_.need(static_cast<size_t>(n_) * shape_.heads * z);
  expanded_queries_.need(static_cast<size_t>(n_) * shape_.heads * (shape_.nope + shape_.rope));
  Wanted forms;
  forms.add(layer.k_up);
  if (any_absorbed_) heads_ = make_rows(heads_memory_, n_ * shape_.heads, shape_.nope, forms);
  each_row(n_, [&](int row) {
    latent_row(layer, index, row, projected_.get() + static_cast<size_t>(row) * (q_cols + kv_cols) + q_cols);
  });
  if (any_absorbed_)
    Pool::shared().run(shape_.heads, [&](int head, int thread) { queries_to_latents(layer, head, thread); });

  attend_all(layer, index);

  Wanted mixed_forms, value_forms;
  mixed_forms.add(layer.o);
  value_forms.add(layer.v_up);
  mixed_ = make_rows(mixed_memory_, n_, shape_.heads * shape_.value, mixed_forms);
  if (any_absorbed_) heads_ = make_rows(heads_memory_, n_ * shape_.heads, shape_.kv_rank, value_forms);
  Pool::shared().run(shape_.heads, [&](int head, int thread) { latents_to_values(layer, head, thread); });
  each_row(n_, [&](int row) { fill_forms(mixed_, row); });
  add_linear(layer.o, mixed_, n_);
}

// projected_ becomes [row][queries | latent and rotary key].
void Network::latent_queries(const Layer& layer) {
  const int q_cols = round_up(shape_.heads * (shape_.nope + shape_.rope), 16);
  const int cols = q_cols + round_up(shape_.kv_rank + shape_.rope, 16);
  float* all = projected_.need(static_cast<size_t>(n_) * cols);
  Wanted forms;
  forms.add(layer.kv_a);
  if (shape_.q_rank == 0) {
    forms.add(layer.q);
    norm(layer.attn_norm, forms);
    linear({&layer.q, &layer.kv_a}, {all, all + q_cols}, cols, normed_, n_);
    return;
  }
  forms.add(layer.q_a);
  norm(layer.attn_norm, forms);
  int low_cols = round_up(shape_.q_rank, 16);
  float* low = low_projected_.need(static_cast<size_t>(n_) * low_cols);
  linear({&layer.q_a}, {low}, low_cols, normed_, n_);
  linear({&layer.kv_a}, {all + q_cols}, cols, normed_, n_);
  Wanted low_forms;
  low_forms.add(layer.q_b);
  low_ = make_rows(low_memory_, n_, shape_.q_rank, low_forms);
  each_row(n_, [&](int row) {
    kernels().rms_norm(low + static_cast<size_t>(row) * low_cols, layer.q_a_norm, shape_.q_rank,
                       shape_.latent_eps, low_.f + static_cast<size_t>(row) * low_.stride);
    fill_forms(low_, row);
  });
  linear({&layer.q_b}, {all}, cols, low_, n_);
}

// Caches the latent of one row and rotates its queries.
void Network::latent_row(const Layer& layer, int index, int row, float* kv) {
  const int C = shape_.kv_rank, R = shape_.rope, N = shape_.nope, H = shape_.heads;
  const int z = latent_stride();
  const Row& where = rows_[row];
  std::vector<float> latent(z, 0.0f);
  kernels().rms_norm(kv, layer.kv_a_norm, C, shape_.latent_eps, latent.data());
  memcpy(latent.data() + C, kv + C, sizeof(float) * R);
  rotate_pairs(latent.data() + C, row);
  uint8_t* to = page(where.span, where.position / PAGE, index);
  int slot = where.position % PAGE;
  if (pages_.int8) {
    uint16_t* scales = reinterpret_cast<uint16_t*>(to + static_cast<size_t>(PAGE) * z);
    kernels().latent_write8(latent.data(), z, reinterpret_cast<int8_t*>(to) + static_cast<size_t>(slot) * z,
                            scales + slot * (z / 32));
  } else {
    kernels().to_bf16(latent.data(), z, reinterpret_cast<uint16_t*>(to) + static_cast<size_t>(slot) * z);
  }
  float* q = projected_.get() + (kv - projected_.get()) - round_up(H * (N + R), 16);
  for (int h = 0; h < H; h++, q += N + R) {
    rotate_pairs(q + N, row);
    if (where.expanded) {
      kernels().to_bf16(q, N + R, expanded_queries_.get() + (static_cast<size_t>(h) * n_ + row) * (N + R));
      continue;
    }
    int at = row * H + h;
    memcpy(heads_.f + static_cast<size_t>(at) * heads_.stride, q, sizeof(float) * N);
    fill_forms(heads_, at);
    uint16_t* out = queries_.get() + static_cast<size_t>(at) * z;
    kernels().to_bf16(q + N, R, out + C);
    std::fill(out + C + R, out + z, uint16_t{0});
  }
}

// Moves the key expansion of one head into its queries.
void Network::queries_to_latents(const Layer& layer, int head, int thread) {
  const int C = shape_.kv_rank, H = shape_.heads, z = latent_stride();
  float* tile = scratch(thread);
  int32_t index[CHUNK_ROWS];
  for (int row = 0; row < n_;) {
    int m = 0;
    for (; row < n_ && m < CHUNK_ROWS; row++)
      if (!rows_[row].expanded) index[m++] = row * H + head;
    kernels().linear(layer.k_up, head * C / PANEL, (head + 1) * C / PANEL, heads_, index, m, tile, C);
    for (int i = 0; i < m; i++)
      kernels().to_bf16(tile + static_cast<size_t>(i) * C, C, queries_.get() + static_cast<size_t>(index[i]) * z);
  }
}

// Brings what one head gathered into mixed_: through the value expansion where it was absorbed.
void Network::latents_to_values(const Layer& layer, int head, int thread) {
  const int C = shape_.kv_rank, H = shape_.heads, V = shape_.value;
  float* tile = scratch(thread);
  int32_t index[CHUNK_ROWS], rows[CHUNK_ROWS];
  for (int row = 0; row < n_;) {
    int m = 0;
    for (; row < n_ && m < CHUNK_ROWS; row++) {
      float* out = mixed_.f + static_cast<size_t>(row) * mixed_.stride + head * V;
      if (rows_[row].expanded) {
        const Piece& piece = pieces_[piece_of_[static_cast<size_t>(head) * n_ + row]];
        memcpy(out, finish(piece, row - piece.first), sizeof(float) * V);
        continue;
      }
      const Piece& piece = pieces_[piece_of_[row]];
      int at = row * H + head;
      memcpy(heads_.f + static_cast<size_t>(at) * heads_.stride,
             finish(piece, (row - piece.first) * H + head), sizeof(float) * C);
      fill_forms(heads_, at);
      rows[m] = row;
      index[m++] = at;
    }
    kernels().linear(layer.v_up, head * V / PANEL, (head + 1) * V / PANEL, heads_, index, m, tile, V);
    for (int i = 0; i < m; i++)
      memcpy(mixed_.f + static_cast<size_t>(rows[i]) * mixed_.stride + head * V,
             tile + static_cast<size_t>(i) * V, sizeof(float) * V);
  }
}

// ----------------------------------------------------------------------------------- attention

void Network::attend_all(const Layer& layer, int index) {
  // One task per split where a piece is cut in splits, else one per piece; long pieces first.
  struct Task { int piece, split; };
  std::vector<Task> tasks;
  for (size_t p = 0; p < pieces_.size(); p++) {
    if (pieces_[p].expanded || pieces_[p].slots == 1) tasks.push_back({static_cast<int>(p), -1});
    else for (int s = 0; s < pieces_[p].splits; s++) tasks.push_back({static_cast<int>(p), s});
  }
  Pool::shared().run(static_cast<int>(tasks.size()), [&](int i, int thread) {
    const Piece& piece = pieces_[tasks[i].piece];
    int split = tasks[i].split;
    if (piece.expanded) attend_expanded(layer, piece, thread, index);
    else if (split < 0) attend_piece(piece, 0, piece.splits, thread, index);
    else attend_piece(piece, split, split + 1, thread, index);
  });
}

void Network::seen_in(const Piece& piece, int token, int tokens, int per_token, int split,
                      int32_t* seen) const {
  for (int i = 0; i < tokens; i++) {
    int position = rows_[piece.first + token + i].position;
    for (int q = 0; q < per_token; q++)
      seen[i * per_token + q] = std::clamp(position + 1 - split * SPLIT, 0, SPLIT);
  }
}

const uint16_t* Network::latent_rows(const uint8_t* page, uint16_t* scratch) const {
  if (!pages_.int8) return reinterpret_cast<const uint16_t*>(page);
  size_t z = latent_stride();
  const uint16_t* scales = reinterpret_cast<const uint16_t*>(page + PAGE * z);
  for (int i = 0; i < PAGE; i++)
    kernels().latent_read8(reinterpret_cast<const int8_t*>(page) + i * z, scales + i * (z / 32),
                           static_cast<int>(z), scratch + i * z);
  return scratch;
}

// Keys and values of the pages of a split; latents in 8 bits are read into the thread's scratch.
int Network::split_pages(const Piece& piece, int split, int thread, int index,
                         const uint16_t** keys, const uint16_t** values) {
  int last = rows_[piece.first + piece.tokens - 1].position / PAGE;
  int first = split * (SPLIT / PAGE);
  int count = std::min(SPLIT / PAGE, last - first + 1);
  if (!shape_.latent) {
    size_t value = round_up(shape_.head_dim, 16);
    size_t head = piece.head * PAGE * (shape_.head_dim + value);
    for (int i = 0; i < count; i++) {
      keys[i] = reinterpret_cast<const uint16_t*>(page(piece.span, first + i, index)) + head;
      values[i] = keys[i] + PAGE * shape_.head_dim;
    }
    return count;
  }
  uint16_t* memory = reinterpret_cast<uint16_t*>(scratch(thread) + pages_scratch());
  for (int i = 0; i < count; i++)
    keys[i] = latent_rows(page(piece.span, first + i, index), memory + static_cast<size_t>(i) * PAGE * latent_stride());
  return count;
}

void Network::attend_piece(const Piece& piece, int first_split, int last_split, int thread, int index) {
  const int per_token = heads_per_piece(), rows = piece.tokens * per_token;
  const int key = shape_.latent ? latent_stride() : shape_.head_dim;
  const int width = shape_.latent ? shape_.kv_rank : width_;
  const uint16_t *keys[SPLIT / PAGE], *values[SPLIT / PAGE];
  std::vector<int32_t> seen(rows);
  float* spare = scratch(thread) + attention_scratch(query_rows_);
  Attention a;
  a.q = queries_.get() + (static_cast<size_t>(piece.head) * n_ + piece.first) * per_token * key;
  a.q_stride = key;
  a.rows = rows;
  a.pairs = key / 2;
  a.key_stride = shape_.latent ? key : 0;
  a.turned = reinterpret_cast<uint16_t*>(scratch(thread) + pages_scratch()) +
             (pages_.int8 ? static_cast<size_t>(SPLIT) * key : 0);
  a.scale = shape_.scale;
  a.seen = seen.data();
  a.keys = keys;
  a.values = values;
  a.scratch = scratch(thread);
  for (int split = first_split; split < last_split; split++) {
    a.pages = split_pages(piece, split, thread, index, keys, values);
    seen_in(piece, 0, piece.tokens, per_token, split, seen.data());
    size_t slot = piece.slot + (piece.slots > 1 ? static_cast<size_t>(split) * rows : 0);
    Gathered out{tops_.get() + slot, sums_.get() + slot, results_.get() + slot * width_, width};
    if (split == first_split || piece.slots > 1) {
      kernels().attend(a, out);
      continue;
    }
    Gathered next{spare, spare + query_rows_, spare + 2 * query_rows_, width};
    kernels().attend(a, next);
    for (int r = 0; r < rows; r++)
      kernels().combine(out.top + r, out.sum + r, out.value + static_cast<size_t>(r) * width,
                        next.top[r], next.sum[r], next.value + static_cast<size_t>(r) * width, width, false);
  }
}

void Network::attend_expanded(const Layer& layer, const Piece& piece, int thread, int index) {
  const int N = shape_.nope, R = shape_.rope, V = shape_.value, C = shape_.kv_rank, U = N + R;
  const int z = latent_stride();
  float* spare = scratch(thread) + attention_scratch(query_rows_);
  uint16_t* read = reinterpret_cast<uint16_t*>(scratch(thread) + pages_scratch());
  uint16_t* latent_keys = read + static_cast<size_t>(PAGE) * z;
  uint16_t* memory = latent_keys + static_cast<size_t>(PAGE) * z;
  const uint16_t *keys[SPLIT / PAGE], *values[SPLIT / PAGE];
  int32_t seen[QUERY_ROWS];
  Attention a;
  a.q_stride = U;
  a.pairs = U / 2;
  a.key_stride = 0;
  a.scale = shape_.scale;
  a.seen = seen;
  a.keys = keys;
  a.values = values;
  a.scratch = scratch(thread);
  for (int split = 0; split < piece.splits; split++) {
    int last = rows_[piece.first + piece.tokens - 1].position / PAGE;
    int first = split * (SPLIT / PAGE);
    a.pages = std::min(SPLIT / PAGE, last - first + 1);
    for (int i = 0; i < a.pages; i++) {
      uint16_t* k = memory + static_cast<size_t>(i) * PAGE * (U + V);
      uint16_t* v = k + static_cast<size_t>(PAGE) * U;
      kernels().expand_page(latent_rows(page(piece.span, first + i, index), read), z, C, R,
                            layer.k_expand + static_cast<size_t>(piece.head) * N * C, N, layer.v_expand,
                            piece.head * V / PANEL, V, latent_keys, k, v);
      keys[i] = k;
      values[i] = v;
    }
    for (int token = 0; token < piece.tokens; token += QUERY_ROWS) {
      int rows = std::min(QUERY_ROWS, piece.tokens - token);
      if (rows_[piece.first + token + rows - 1].position < split * SPLIT) continue;
      seen_in(piece, token, rows, 1, split, seen);
      a.q = expanded_queries_.get() + (static_cast<size_t>(piece.head) * n_ + piece.first + token) * U;
      a.rows = rows;
      size_t slot = piece.slot + token;
      Gathered out{tops_.get() + slot, sums_.get() + slot, results_.get() + piece.slot * width_ + static_cast<size_t>(token) * V, V};
      Gathered next{spare, spare + query_rows_, spare + 2 * query_rows_, V};
      kernels().attend(a, next);
      for (int r = 0; r < rows; r++)
        kernels().combine(out.top + r, out.sum + r, out.value + static_cast<size_t>(r) * V, next.top[r],
                          next.sum[r], next.value + static_cast<size_t>(r) * V, V, split == 0);
    }
  }
}

// The finished result of one query row of a piece: its splits together, divided by their sum. They are
// joined where they lie, so this is done once for each row.
const float* Network::finish(const Piece& piece, int query_row) {
  int rows = piece.tokens * (piece.expanded ? 1 : heads_per_piece());
  int width = piece.expanded ? shape_.value : shape_.latent ? shape_.kv_rank : width_;
  size_t slot = piece.slot + query_row;
  float* value = results_.get() + piece.slot * width_ + static_cast<size_t>(query_row) * width;
  for (int s = 1; s < piece.slots; s++) {
    size_t before = static_cast<size_t>(s) * rows;
    kernels().combine(tops_.get() + slot, sums_.get() + slot, value, tops_.get()[slot + before],
                      sums_.get()[slot + before], value + before * width_, width, false);
  }
  float inverse = 1.0f / sums_.get()[slot];
  for (int i = 0; i < width; i++) value[i] *= inverse;
  return value;
}

// -------------------------------------------------------------------------------- feed-forward

// Groups first..last-1 of 32 hidden columns for n rows of x, written to rows out_row.. of out.
void Network::gate_up(const Matrix& w, const Rows& x, const int32_t* index, int n, const Rows& out,
                      int out_row, int first, int last, int thread) {
  const int panels = (w.rows + PANEL - 1) / PANEL;
  float* tile = scratch(thread);
  for (int from = 0; from < n; from += CHUNK_ROWS) {
    int m = std::min(CHUNK_ROWS, n - from);
    Rows part = index ? x : from_row(x, from);
    for (int groups = first; groups < last; groups += GROUPS_TOGETHER) {
      const int next = std::min(groups + GROUPS_TOGETHER, last);
      kernels().linear(w, 4 * groups, std::min(4 * next, panels), part, index ? index + from : nullptr, m, tile,
                       64 * GROUPS_TOGETHER);
      for (int i = 0; i < m; i++) {
        Rows row = from_row(out, out_row + from + i);
        for (int group = groups; group < next; group++) {
          float* sums = tile + 64 * (GROUPS_TOGETHER * i + group - groups);
          kernels().swiglu(sums, sums + 16, 16, row.f + 32 * group);
          if (panels - 4 * group >= 4) kernels().swiglu(sums + 32, sums + 48, 16, row.f + 32 * group + 16);
          else std::fill(row.f + 32 * group + 16, row.f + 32 * group + 32, 0.0f);
          if (row.q)
            kernels().quantise(row.f + 32 * group, 32, row.q + 32 * group, row.scale + group, row.group + group);
          if (row.h) kernels().to_bf16(row.f + 32 * group, 32, row.h + 32 * group);
        }
      }
    }
  }
}

void Network::feed_forward(const Layer& layer) {
  Wanted in, between;
  in.add(layer.gate_up);
  between.add(layer.down);
  norm(layer.ffn_norm, in);
  hidden_ = make_rows(hidden_memory_, n_, layer.down.cols, between);
  int groups = hidden_.stride / 32;
  const size_t bytes = layer.gate_up.panel_stride() * (layer.gate_up.rows / PANEL);
  const int tasks = tasks_of(groups, GROUPS_TOGETHER, bytes, n_);
  Pool::shared().run(tasks, [&](int task, int thread) {
    int first = static_cast<int>(static_cast<int64_t>(groups) * task / tasks);
    int last = static_cast<int>(static_cast<int64_t>(groups) * (task + 1) / tasks);
    gate_up(layer.gate_up, normed_, nullptr, n_, hidden_, 0, first, last, thread);
  });
  add_linear(layer.down, hidden_, n_);
}

// The top_k experts of one row and their weights, ties to the lower id. DeepSeek-V2 2.2.
void Network::choose_experts(const float* logits, int row) {
  const int E = shape_.experts, K = shape_.top_k;
  std::vector<float> affinity(E);
  float top = *std::max_element(logits, logits + E), sum = 0;
  for (int e = 0; e < E; e++) sum += affinity[e] = expf(logits[e] - top);
  for (float& a : affinity) a /= sum;
  std::vector<float> score = affinity;
  if (shape_.group_limited) {
    int each = E / shape_.groups;
    std::vector<std::pair<float, int>> best;
    for (int g = 0; g < shape_.groups; g++)
      best.push_back({-*std::max_element(score.begin() + g * each, score.begin() + (g + 1) * each), g});
    std::stable_sort(best.begin(), best.end());
    // Below zero: a dropped expert may not beat one that is kept with an affinity of zero.
    for (int i = shape_.top_groups; i < shape_.groups; i++)
      std::fill_n(score.begin() + best[i].second * each, each, -1.0f);
  }
  std::vector<int> ids(E);
  for (int e = 0; e < E; e++) ids[e] = e;
  std::partial_sort(ids.begin(), ids.begin() + K, ids.end(), [&](int a, int b) {
    return score[a] != score[b] ? score[a] > score[b] : a < b;
  });
  std::sort(ids.begin(), ids.begin() + K);
  float total = 0;
  for (int k = 0; k < K; k++) total += affinity[ids[k]];
  bool renormalise = shape_.norm_top_k && K > 1;
  for (int k = 0; k < K; k++) {
    chosen_[static_cast<size_t>(row) * K + k] = ids[k];
    float w = affinity[ids[k]];
    chosen_weight_[static_cast<size_t>(row) * K + k] = renormalise ? w / (total + 1e-20f) : w * shape_.route_scale;
  }
}

void Network::experts(const Layer& layer) {
  const int E = shape_.experts, K = shape_.top_k;
  const bool shared = layer.down.data != nullptr;
  Wanted in, between, shared_between;
  in.add(layer.expert_gate_up);
  if (shared) in.add(layer.gate_up);
  between.add(layer.expert_down);
  shared_between.add(layer.down);
  norm(layer.ffn_norm, in);

  const int logit_cols = round_up(E, 16);
  float* logits = routed_.need(static_cast<size_t>(n_) * logit_cols);
  linear({&layer.router}, {logits}, logit_cols, normed_, n_);
  chosen_.resize(static_cast<size_t>(n_) * K);
  chosen_weight_.resize(static_cast<size_t>(n_) * K);
  each_row(n_, [&](int row) { choose_experts(logits + static_cast<size_t>(row) * logit_cols, row); });

  // Rows in the order of their experts: those of expert e are begin_[e] .. begin_[e + 1] - 1.
  begin_.assign(E + 1, 0);
  for (int32_t e : chosen_) begin_[e + 1]++;
  for (int e = 0; e < E; e++) begin_[e + 1] += begin_[e];
  order_.resize(chosen_.size());
  weight_.resize(chosen_.size());
  std::vector<int32_t> next(begin_.begin(), begin_.end() - 1);
  for (size_t i = 0; i < chosen_.size(); i++) {
    int at = next[chosen_[i]]++;
    order_[at] = static_cast<int32_t>(i / K);
    weight_[at] = chosen_weight_[i];
  }

  auto expert = [](const Matrix& first, size_t stride, int e) {
    Matrix w = first;
    w.data += stride * e;
    return w;
  };
  hidden_ = make_rows(hidden_memory_, n_ * K, layer.expert_down.cols, between);
  if (shared) shared_ = make_rows(shared_memory_, n_, layer.down.cols, shared_between);
  struct Task { int expert, first, last; };
  std::vector<Task> tasks;
  auto cut = [&](int e, int groups, size_t group_bytes, int rows) {
    int each = std::max(rows > FEW_ROWS ? GROUPS_TOGETHER : 1,
                        static_cast<int>(2 * TASK_BYTES / (group_bytes * std::clamp(rows / 4, 1, 8))));
    for (int g = 0; g < groups; g += each) tasks.push_back({e, g, std::min(groups, g + each)});
  };
  for (int e = 0; e < E; e++)
    if (begin_[e] < begin_[e + 1])
      cut(e, hidden_.stride / 32, 4 * layer.expert_gate_up.panel_stride(), begin_[e + 1] - begin_[e]);
  if (shared) cut(-1, shared_.stride / 32, 4 * layer.gate_up.panel_stride(), n_);
  Pool::shared().run(static_cast<int>(tasks.size()), [&](int i, int thread) {
    const Task& task = tasks[i];
    int e = task.expert;
    if (e < 0) gate_up(layer.gate_up, normed_, nullptr, n_, shared_, 0, task.first, task.last, thread);
    else
      gate_up(expert(layer.expert_gate_up, layer.gate_up_stride, e), normed_, &order_[begin_[e]],
              begin_[e + 1] - begin_[e], hidden_, begin_[e], task.first, task.last, thread);
  });

  // Each task owns some output columns: experts in ascending order, then the shared ones.
  const int total = (shape_.dim + PANEL - 1) / PANEL;
  const int down_tasks = std::min(total, std::max((total + 7) / 8, 4 * Pool::shared().threads()));
  Pool::shared().run(down_tasks, [&](int task, int thread) {
    int first = static_cast<int>(static_cast<int64_t>(total) * task / down_tasks);
    int last = static_cast<int>(static_cast<int64_t>(total) * (task + 1) / down_tasks);
    int cols = 16 * (last - first);
    float* tile = scratch(thread);
    auto add_rows = [&](const Matrix& w, const Rows& h, int row, int count, const int32_t* to, const float* weights) {
      for (int from = 0; from < count; from += CHUNK_ROWS) {
        int m = std::min(CHUNK_ROWS, count - from);
        kernels().linear(w, first, last, from_row(h, row + from), nullptr, m, tile, cols);
        for (int i = 0; i < m; i++) {
          size_t token = to ? to[from + i] : from + i;
          float* x = x_.get() + token * stride_ + 16 * first;
          kernels().add_scaled(x, tile + static_cast<size_t>(i) * cols, weights ? weights[from + i] : 1.0f, cols);
        }
      }
    };
    for (int e = 0; e < E; e++)
      if (begin_[e] < begin_[e + 1])
        add_rows(expert(layer.expert_down, layer.down_stride, e), hidden_, begin_[e],
                 begin_[e + 1] - begin_[e], &order_[begin_[e]], &weight_[begin_[e]]);
    if (shared) add_rows(layer.down, shared_, 0, n_, nullptr, nullptr);
  });
}

// ------------------------------------------------------------------------------- shifted pages

void Network::rotate(const int32_t* pages, int count, int by) {
  const int half = shape_.rope_pairs;
  std::vector<float> c(half), s(half);
  for (int i = 0; i < half; i++) {
    float angle = static_cast<float>(by) * inv_freq_[i];
    c[i] = cosf(angle);
    s[i] = sinf(angle);
  }
  size_t each = layer_bytes(pages_.int8);
  Pool::shared().run(count * shape_.layers, [&](int task, int) {
    uint8_t* at = pages_.base + (static_cast<size_t>(pages[task / shape_.layers]) * shape_.layers + task % shape_.layers) * each;
    if (shape_.latent) {
      const int z = latent_stride(), C = shape_.kv_rank;
      std::vector<uint16_t> numbers(z);
      std::vector<float> x(z);
      for (int slot = 0; slot < PAGE; slot++) {
        int8_t* q = reinterpret_cast<int8_t*>(at) + static_cast<size_t>(slot) * z;
        uint16_t* scales = reinterpret_cast<uint16_t*>(at + static_cast<size_t>(PAGE) * z) + slot * (z / 32);
        uint16_t* row = reinterpret_cast<uint16_t*>(at) + static_cast<size_t>(slot) * z;
        const int first = C / 32 * 32;  // the latent's whole groups stay as they are
        if (pages_.int8) kernels().latent_read8(q + first, scales + first / 32, z - first, &numbers[first]);
        else memcpy(&numbers[first], row + first, 2 * (z - first));
        for (int i = first; i < z; i++) x[i] = read_bf16(numbers[i]);
        for (int i = 0; i < half; i++) {
          float a = x[C + 2 * i], b = x[C + 2 * i + 1];
          x[C + 2 * i] = a * c[i] - b * s[i];
          x[C + 2 * i + 1] = a * s[i] + b * c[i];
        }
        if (pages_.int8) kernels().latent_write8(&x[first], z - first, q + first, scales + first / 32);
        else kernels().to_bf16(&x[C], shape_.rope, row + C);
      }
      return;
    }
    const int U = shape_.head_dim, pairs = U / 2;
    const size_t value = round_up(U, 16);
    for (int j = 0; j < shape_.kv_heads; j++) {
      uint16_t* keys = reinterpret_cast<uint16_t*>(at) + j * PAGE * (U + value);
      for (int slot = 0; slot < PAGE; slot++) {
        auto number = [&](int i) -> uint16_t& {
          return keys[(static_cast<size_t>(slot / 16) * pairs + i / 2) * 32 + 2 * (slot % 16) + i % 2];
        };
        for (int i = 0; i < half; i++) {
          float a = read_bf16(number(i)), b = read_bf16(number(i + half));
          number(i) = round_bf16(a * c[i] - b * s[i]);
          number(i + half) = round_bf16(b * c[i] + a * s[i]);
        }
      }
    }
  });
}

}  // namespace midfill
