// Shingles and MinHash sketches of texts, and the exact Jaccard similarity of two shingle sets.
// The Python twin, which says what is computed and why, is duplicates/shingles.py and minhash.py.
#include "characters.h"

#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace {

using Hashes = std::vector<uint64_t>;
using Sorted = nb::ndarray<const uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr uint64_t CHARACTER = 0x9E3779B97F4A7C15;  // base of the polynomial over a word
constexpr uint64_t WORD = 0xD1342543DE82EF95;       // base of the polynomial over the words
constexpr uint64_t SCATTER = 0xBF58476D1CE4E5B9;
constexpr uint64_t EMPTY = UINT64_MAX;
constexpr size_t KEPT = 1 << 16;  // hashes of one text kept for the later rounds
constexpr Py_UCS4 SIGMA = 0x3A3, DOTTED_I = 0x130;  // whose lower case is no single character alone

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * SCATTER;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// The lower case of each Latin-1 character that belongs to words, 0 for the others.
struct Table {
  uint8_t lower[256];
  Table() {
    for (Py_UCS4 c = 0; c < 256; c++)
      lower[c] = (Py_UNICODE_ISALNUM(c) || c == '_') ? uint8_t(Py_UNICODE_TOLOWER(c)) : 0;
  }
};
const Table& table() {
  static const Table made;
  return made;
}

inline uint64_t lower_of(uint8_t c, const uint8_t* lower) { return lower[c]; }
template <class Char>
inline uint64_t lower_of(Char c, const uint8_t* lower) {
  if (c < 256) return lower[c];
  return Py_UNICODE_ISALNUM(c) ? uint64_t(Py_UNICODE_TOLOWER(c)) : 0;
}

// Turns words into shingles: a rolling polynomial over the last `size` word hashes.
class Roller {
 public:
  Roller(size_t size, uint64_t seed) : size_(size), seed_(mix(seed)), ring_(size) {
    for (size_t i = 0; i < size; i++) oldest_ *= WORD;
  }
  void restart() { filled_ = at_ = 0, sum_ = 0, std::fill(ring_.begin(), ring_.end(), 0); }
  template <class Emit>
  void word(uint64_t polynomial, Emit&& emit) {
    uint64_t hash = (polynomial ^ (polynomial >> 29)) * SCATTER;
    sum_ = sum_ * WORD + hash - ring_[at_] * oldest_;
    ring_[at_] = hash;
    at_ = at_ + 1 == size_ ? 0 : at_ + 1;
    if (++filled_ >= size_) emit(mix(sum_ ^ seed_));
  }

 private:
  size_t size_, filled_ = 0, at_ = 0;
  uint64_t seed_, sum_ = 0, oldest_ = 1;
  Hashes ring_;
};

template <class Char, class Emit>
void scan(const Char* text, size_t start, size_t end, Roller& roller, Emit&& emit) {
  const uint8_t* lower = table().lower;
  size_t i = start;
  while (i < end) {
    while (i < end && !lower_of(text[i], lower)) i++;
    if (i == end) return;
    uint64_t polynomial = 0, c;
    while (i < end && (c = lower_of(text[i], lower))) polynomial = polynomial * CHARACTER + c, i++;
    roller.word(polynomial, emit);
  }
}

template <class Char>
bool needs_full_lower(const Char* text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (text[i] == SIGMA || text[i] == DOTTED_I) return true;
  return false;
}

// A text as CPython holds it, lowered beforehand where lowering each character alone is not
// what str.lower does. Characters are then read in place, without a copy.
class Text {
 public:
  Text(nb::handle text, size_t start) : text_(nb::borrow(text)), start_(start) {
    if (!PyUnicode_Check(text.ptr())) throw nb::type_error("a text is not a str");
    if (PyUnicode_READY(text.ptr())) nb::raise_python_error();
    size_t length = this->length();
    start_ = std::min(start, length);
    const bool full = with_characters(text_, [](const auto* p, Place n) {
      if constexpr (sizeof(*p) > 1) return needs_full_lower(p, size_t(n));
      return false;
    });
    if (full) {
      nb::object body = nb::steal(PyUnicode_Substring(text_.ptr(), start_, length));
      if (!body.is_valid()) nb::raise_python_error();
      text_ = body.attr("lower")(), start_ = 0;
    }
  }
  template <class Emit>
  void each_shingle(Roller& roller, Emit&& emit) const {
    roller.restart();
    with_characters(text_, [&](const auto* p, Place n) { scan(p, start_, size_t(n), roller, emit); });
  }

 private:
  size_t length() const { return size_t(PyUnicode_GET_LENGTH(text_.ptr())); }
  nb::object text_;
  size_t start_;
};

void make_set(Hashes& hashes) {
  std::sort(hashes.begin(), hashes.end());
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
}

// The distinct shingles of several texts, sorted; memory grows with the distinct ones only.
Hashes distinct(const std::vector<Text>& texts, Roller& roller) {
  Hashes hashes;
  size_t limit = KEPT;
  auto keep = [&](uint64_t hash) {
    if (hashes.size() >= limit) {
      make_set(hashes);
      limit = std::max(KEPT, 2 * hashes.size());
    }
    hashes.push_back(hash);
  };
  for (const Text& text : texts) text.each_shingle(roller, keep);
  make_set(hashes);
  return hashes;
}

inline size_t slot_of(uint64_t hash, size_t slots) { return ((hash >> 32) * slots) >> 32; }

// Fills the empty slots in further rounds; `hashes` must hold every shingle at least once.
void fill(Hashes& slots, Hashes& hashes) {
  size_t count = slots.size(), open = std::count(slots.begin(), slots.end(), EMPTY);
  if (hashes.empty() || !open) return;
  Hashes round(count, EMPTY);
  std::vector<size_t> touched;
  for (size_t turn = 1; open && turn < 2 * count; turn++) {
    if (turn == 4) make_set(hashes);  // many rounds: few distinct shingles, perhaps often repeated
    uint64_t salt = mix(turn * CHARACTER);
    touched.clear();
    for (uint64_t hash : hashes) {
      uint64_t value = mix(hash ^ salt);
      size_t slot = turn < count ? slot_of(value, count) : turn - count;
      if (slots[slot] != EMPTY) continue;
      if (round[slot] == EMPTY) touched.push_back(slot);
      round[slot] = std::min(round[slot], value);
    }
    for (size_t slot : touched) slots[slot] = round[slot];
    open -= touched.size();
  }
}

void append_keys(const Hashes& slots, size_t bands, size_t rows, Hashes& keys) {
  for (size_t band = 0; band < bands; band++) {
    uint64_t key = mix(band + 1);
    for (size_t row = 0; row < rows; row++) key = key * WORD + slots[band * rows + row];
    keys.push_back(mix(key));
  }
}

std::vector<Text> texts_of(nb::sequence texts, nb::sequence starts) {
  size_t count = nb::len(texts);
  if (nb::len(starts) != count) throw nb::value_error("texts and starts differ in length");
  std::vector<Text> all;
  all.reserve(count);
  for (size_t i = 0; i < count; i++) {
    nb::object text = texts[i];
    all.emplace_back(text, nb::cast<size_t>(starts[i]));
  }
  return all;
}

void check(size_t words, size_t slots) {
  if (words < 1 || words > 4096) throw nb::value_error("words must be 1 to 4096");
  if (slots < 1 || slots > (1 << 16)) throw nb::value_error("slots must be 1 to 65536");
}

nb::bytes as_bytes(const Hashes& hashes) {
  return nb::bytes(reinterpret_cast<const char*>(hashes.data()), hashes.size() * sizeof(uint64_t));
}

nb::bytes shingles(nb::sequence texts, nb::sequence starts, size_t words, uint64_t seed) {
  check(words, 1);
  Roller roller(words, seed);
  return as_bytes(distinct(texts_of(texts, starts), roller));
}

// Shingles (with repeats) and band keys of each text, then of all texts as one document.
nb::tuple band_keys(nb::sequence texts, nb::sequence starts, size_t words, uint64_t seed,
                    size_t bands, size_t rows, bool each) {
  check(words, std::max(bands, rows));
  check(words, bands * rows);
  size_t slots = bands * rows;
  std::vector<Text> all = texts_of(texts, starts);
  Roller roller(words, seed);
  Hashes whole(slots, EMPTY), one(slots), kept, counts, keys;
  uint64_t total = 0;
  for (size_t i = 0; i < all.size(); i++) {
    uint64_t count = 0;
    kept.clear();
    std::fill(one.begin(), one.end(), EMPTY);
    all[i].each_shingle(roller, [&](uint64_t hash) {
      size_t slot = slot_of(hash, slots);
      if (hash < one[slot]) one[slot] = hash;
      if (count++ < KEPT) kept.push_back(hash);
    });
    for (size_t slot = 0; slot < slots; slot++) whole[slot] = std::min(whole[slot], one[slot]);
    total += count;
    if (!each) continue;
    if (count > KEPT && std::find(one.begin(), one.end(), EMPTY) != one.end())
      kept = distinct({all[i]}, roller);
    fill(one, kept);
    counts.push_back(count);
    append_keys(one, bands, rows, keys);
  }
  if (std::find(whole.begin(), whole.end(), EMPTY) != whole.end()) {
    kept = distinct(all, roller);
    fill(whole, kept);
  }
  counts.push_back(total);
  append_keys(whole, bands, rows, keys);
  return nb::make_tuple(as_bytes(counts), as_bytes(keys));
}

// Two sorted sets: how many numbers they share. No branch depends on the data.
size_t shared(const uint64_t* a, size_t m, const uint64_t* b, size_t n) {
  size_t i = 0, j = 0, both = 0;
  while (i < m && j < n) {
    uint64_t x = a[i], y = b[j];
    both += x == y;
    i += x <= y;
    j += y <= x;
  }
  return both;
}

size_t common(Sorted a, Sorted b) { return shared(a.data(), a.size(), b.data(), b.size()); }

}  // namespace

void bind_minhash(nb::module_& m) {
  using namespace nb::literals;
  m.def("shingles", &shingles, "texts"_a, "starts"_a, "words"_a, "seed"_a);
  m.def("band_keys", &band_keys, "texts"_a, "starts"_a, "words"_a, "seed"_a, "bands"_a, "rows"_a,
        "each"_a);
  m.def("common", &common, "a"_a, "b"_a);
}
