// Byte-level BPE: cuts UTF-8 into pieces as a list of rules says, merges the bytes of each piece.
// midfill/tokenizer/fast.py says which tokenizers this holds for and makes the tables.
//
// A rule splits the pieces that the one before it left, exactly as the library's sequence of
// splits. Characters have a set of class bits; a piece carries the union of its characters' bits,
// so a rule whose class is not in it is passed over.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace nb = nanobind;

namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using Text = const u8*;

constexpr u32 kNone = 0xFFFFFFFFu;

// Bits that have a meaning of their own; fast.py gives the others out.
enum Bit : u16 { kSpace = 1, kLetter = 2, kNumber = 4, kLineEnd = 8 };
enum Kind : u32 { kRun, kTrailingSpace, kGpt2, kQwen2 };

struct Rule {
  u32 kind;
  u16 bit;
  bool space;   // one white space before the run belongs to it
  bool single;  // each character alone
};

struct Char {
  u16 bits;
  u8 size;
};

class Classes {
 public:
  explicit Classes(const nb::bytes& raw) : bits_(raw.size() / 2) {
    if (bits_.size() != 0x110000) throw std::invalid_argument("one class per code point is needed");
    std::memcpy(bits_.data(), raw.c_str(), raw.size());
  }
  // `at` is inside valid UTF-8.
  Char at(Text p) const {
    if (*p < 0x80) return {bits_[*p], 1};
    if (*p < 0xE0) return {bits_[((*p & 0x1Fu) << 6) | (p[1] & 0x3Fu)], 2};
    u32 low = ((p[1] & 0x3Fu) << 6) | (p[2] & 0x3Fu);
    if (*p < 0xF0) return {bits_[((*p & 0x0Fu) << 12) | low], 3};
    return {bits_[std::min<u32>(((*p & 0x07u) << 18) | (low << 6) | (p[3] & 0x3Fu), 0x10FFFF)], 4};
  }

 private:
  std::vector<u16> bits_;
};

// Which two tokens become one, and how early.
class Merges {
 public:
  struct Result {
    u32 rank, token;
  };
  void build(const std::vector<u32>& triples) {
    std::size_t size = 1024;
    while (size < triples.size()) size *= 2;
    slots_.assign(size, Slot{~u64{0}, {kNone, kNone}});
    for (std::size_t i = 0; i + 2 < triples.size(); i += 3) {
      Slot& slot = slots_[place(key(triples[i], triples[i + 1]))];
      slot = {key(triples[i], triples[i + 1]), {static_cast<u32>(i / 3), triples[i + 2]}};
    }
  }
  Result find(u32 left, u32 right) const { return slots_[place(key(left, right))].result; }

 private:
  struct Slot {
    u64 key;
    Result result;
  };
  static u64 key(u32 left, u32 right) { return (u64{left} << 32) | right; }
  std::size_t place(u64 key) const {
    std::size_t mask = slots_.size() - 1;
    u64 mixed = key * 0x9E3779B97F4A7C15ull;
    std::size_t at = (mixed ^ (mixed >> 32)) & mask;
    while (slots_[at].key != key && slots_[at].key != ~u64{0}) at = (at + 1) & mask;
    return at;
  }
  std::vector<Slot> slots_;
};

// What pieces became before: source code repeats most of its words. Emptied when it is full.
class Cache {
 public:
  Cache() : slots_(kSlots) {}
  static constexpr std::size_t kLongest = 48;  // bytes of a piece worth remembering

  static u64 hash(Text from, std::size_t size) {
    u64 h = size * 0x9E3779B97F4A7C15ull;
    while (size >= 8) {
      u64 word;
      std::memcpy(&word, from, 8);
      h = (h ^ word) * 0xBF58476D1CE4E5B9ull;
      h ^= h >> 29;
      from += 8;
      size -= 8;
    }
    u64 word = 0;
    for (std::size_t i = 0; i < size; i++) word |= u64{from[i]} << (8 * i);
    h = (h ^ word) * 0x94D049BB133111EBull;
    return h ^ (h >> 32);
  }
  bool append(u64 hash, Text from, std::size_t size, std::vector<u32>& out) const {
    for (std::size_t at = hash & (kSlots - 1); slots_[at].used; at = (at + 1) & (kSlots - 1)) {
      const Slot& slot = slots_[at];
      if (slot.hash != static_cast<u32>(hash >> 32) || slot.size != size) continue;
      if (std::memcmp(&bytes_[slot.key], from, size) != 0) continue;
      out.insert(out.end(), tokens_.begin() + slot.first, tokens_.begin() + slot.first + slot.count);
      return true;
    }
    return false;
  }
  void keep(u64 hash, Text from, std::size_t size, const u32* tokens, std::size_t count) {
    if (++used_ > kSlots / 2) {
      used_ = 1;
      std::fill(slots_.begin(), slots_.end(), Slot{});
      bytes_.clear();
      tokens_.clear();
    }
    std::size_t at = hash & (kSlots - 1);
    while (slots_[at].used) at = (at + 1) & (kSlots - 1);
    slots_[at] = {static_cast<u32>(hash >> 32), static_cast<u32>(bytes_.size()), static_cast<u32>(tokens_.size()),
                  static_cast<u8>(size), static_cast<u8>(count), true};
    bytes_.insert(bytes_.end(), from, from + size);
    tokens_.insert(tokens_.end(), tokens, tokens + count);
  }

 private:
  static constexpr std::size_t kSlots = 1 << 17;
  struct Slot {
    u32 hash = 0, key = 0, first = 0;
    u8 size = 0, count = 0;
    bool used = false;
  };
  std::vector<Slot> slots_;
  std::vector<u8> bytes_;
  std::vector<u32> tokens_;
  std::size_t used_ = 0;
};

class Encoder {
 public:
  Encoder(nb::bytes classes, const std::vector<std::vector<u32>>& rules, const std::vector<u32>& byte_tokens,
          nb::bytes merges)
      : classes_(classes), byte_tokens_(byte_tokens) {
    for (const auto& r : rules) {
      if (r.size() != 4 || r[0] > kQwen2) throw std::invalid_argument("a rule has four numbers");
      rules_.push_back({r[0], static_cast<u16>(r[1]), r[2] != 0, r[3] != 0});
    }
    if (byte_tokens.size() != 256) throw std::invalid_argument("there are 256 bytes");
    std::vector<u32> triples(merges.size() / 4);
    std::memcpy(triples.data(), merges.c_str(), triples.size() * 4);
    merges_.build(triples);
  }

  // Tokens of valid UTF-8, four bytes each.
  nb::bytes encode(nb::bytes text) {
    Text begin = reinterpret_cast<Text>(text.c_str());
    out_.clear();
    run(0, begin, begin + text.size(), 0xFFFF);
    nb::bytes made(reinterpret_cast<const char*>(out_.data()), out_.size() * 4);
    if (out_.capacity() > kKept) std::vector<u32>().swap(out_);
    return made;
  }

  // Where the pieces end, in bytes: for tests.
  std::vector<std::size_t> cuts(nb::bytes text) {
    Text begin = reinterpret_cast<Text>(text.c_str());
    std::vector<std::size_t> ends;
    ends_ = &ends;
    begin_ = begin;
    run(0, begin, begin + text.size(), 0xFFFF);
    ends_ = nullptr;
    return ends;
  }

 private:
  static constexpr std::size_t kKept = 1 << 20;  // tokens of room kept between texts

  // Applies the rules from `k` on to one piece whose characters have the classes `any`.
  void run(std::size_t k, Text a, Text b, u16 any) {
    if (a == b) return;
    while (k < rules_.size() && rules_[k].kind <= kTrailingSpace && !(any & rules_[k].bit)) k++;
    if (k == rules_.size()) return piece(a, b);
    switch (rules_[k].kind) {
      case kRun: return cut_runs(k, a, b);
      case kTrailingSpace: return cut_trailing(k, a, b);
      case kGpt2: return cut_gpt2(k, a, b);
      default: return cut_qwen2(k, a, b);
    }
  }

  // [class], [class]+ or \s?[class]+, the others staying together between them.
  void cut_runs(std::size_t k, Text a, Text b) {
    const Rule rule = rules_[k];
    u16 before = 0;  // classes since `a`
    for (Text p = a; p < b;) {
      Char c = classes_.at(p);
      u16 any = c.bits;
      Text end = p + c.size;
      if (!(c.bits & rule.bit)) {
        bool opens = rule.space && (c.bits & kSpace) && end < b && (classes_.at(end).bits & rule.bit);
        if (!opens) {
          before |= c.bits;
          p = end;
          continue;
        }
      }
      while (!rule.single && end < b) {
        Char next = classes_.at(end);
        if (!(next.bits & rule.bit)) break;
        any |= next.bits;
        end += next.size;
      }
      run(k + 1, a, p, before);
      run(k + 1, p, end, any);
      a = p = end;
      before = 0;
    }
    run(k + 1, a, b, before);
  }

  void cut_trailing(std::size_t k, Text a, Text b) {
    Text last = a;
    u16 any = 0, space = 0;
    for (Text p = a; p < b;) {
      Char c = classes_.at(p);
      p += c.size;
      space |= c.bits;
      if (c.bits & kSpace) continue;
      last = p;
      any |= space;
      space = 0;
    }
    run(k + 1, a, last, any);
    run(k + 1, last, b, space);
  }

  bool is(Text p, Text b, u16 bits) const { return p < b && (classes_.at(p).bits & bits); }
  bool is_not(Text p, Text b, u16 bits) const { return p < b && !(classes_.at(p).bits & bits); }
  Text past(Text p, Text b, u16 bits) const {
    while (is(p, b, bits)) p += classes_.at(p).size;
    return p;
  }
  Text past_others(Text p, Text b, u16 bits) const {
    while (is_not(p, b, bits)) p += classes_.at(p).size;
    return p;
  }

  // \s+(?!\S)|\s+ : white space without its last character where something follows.
  Text past_space(Text p, Text b) const {
    Text end = p, last = p;
    while (is(end, b, kSpace)) {
      last = end;
      end += classes_.at(end).size;
    }
    return end < b && last > p ? last : end;
  }

  // Length of 's 't 're 've 'm 'll 'd; `folded`: in any case, so that 'ſ is one, too.
  static std::size_t contraction(Text p, Text b, bool folded) {
    std::size_t left = static_cast<std::size_t>(b - p);
    if (left < 2 || *p != '\'') return 0;
    auto letter = [&](std::size_t i) { return i < left ? (folded && p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]) : 0; };
    int first = letter(1), second = letter(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if (folded && left > 2 && p[1] == 0xC5 && p[2] == 0xBF) return 3;
    bool two = (second == 'e' && (first == 'r' || first == 'v')) || (first == 'l' && second == 'l');
    return two ? 3 : 0;
  }

  void cut_gpt2(std::size_t k, Text a, Text b) {
    constexpr u16 kAny = kSpace | kLetter | kNumber;
    for (Text p = a; p < b;) {
      Text end = p + contraction(p, b, false);
      if (end == p) {
        Text word = p + (*p == ' ');
        if (is(word, b, kLetter)) end = past(word, b, kLetter);
        else if (is(word, b, kNumber)) end = past(word, b, kNumber);
        else if (is_not(word, b, kAny)) end = past_others(word, b, kAny);
        else end = past_space(p, b);
      }
      run(k + 1, p, end, 0xFFFF);
      p = end;
    }
  }

  Text qwen2(Text p, Text b) const {
    constexpr u16 kAny = kSpace | kLetter | kNumber;
    if (std::size_t size = contraction(p, b, true)) return p + size;
    Char c = classes_.at(p);
    Text word = c.bits & (kLetter | kNumber | kLineEnd) ? p : p + c.size;
    if (is(word, b, kLetter)) return past(word, b, kLetter);
    if (c.bits & kNumber) return p + c.size;
    word = p + (*p == ' ');
    if (is_not(word, b, kAny)) return past(past_others(word, b, kAny), b, kLineEnd);
    // \s*[\r\n]+ reaches to the last line end of this white space
    Text last = nullptr;
    for (Text at = p; is(at, b, kSpace); at += classes_.at(at).size)
      if (classes_.at(at).bits & kLineEnd) last = at + 1;
    return last ? last : past_space(p, b);
  }

  void cut_qwen2(std::size_t k, Text a, Text b) {
    while (a < b) {
      Text end = qwen2(a, b);
      run(k + 1, a, end, 0xFFFF);
      a = end;
    }
  }

  void piece(Text a, Text b) {
    if (ends_) return ends_->push_back(static_cast<std::size_t>(b - begin_));
    std::size_t size = static_cast<std::size_t>(b - a);
    if (size == 1) {
      if (byte_tokens_[*a] != kNone) out_.push_back(byte_tokens_[*a]);
      return;
    }
    if (size > Cache::kLongest) return merge_long(a, b);
    u64 hash = Cache::hash(a, size);
    if (cache_.append(hash, a, size, out_)) return;
    std::size_t start = out_.size();
    merge_short(a, b);
    cache_.keep(hash, a, size, out_.data() + start, out_.size() - start);
  }

  // The pair that was learnt first, leftmost, until none is left.
  void merge_short(Text a, Text b) {
    u32 tokens[Cache::kLongest];
    Merges::Result next[Cache::kLongest];  // of the token here with the one after it
    std::size_t count = 0;
    for (Text p = a; p < b; p++)
      if (byte_tokens_[*p] != kNone) tokens[count++] = byte_tokens_[*p];
    for (std::size_t i = 0; i + 1 < count; i++) next[i] = merges_.find(tokens[i], tokens[i + 1]);
    while (count > 1) {
      std::size_t best = 0;
      for (std::size_t i = 1; i + 1 < count; i++)
        if (next[i].rank < next[best].rank) best = i;
      if (next[best].rank == kNone) break;
      tokens[best] = next[best].token;
      count--;
      for (std::size_t i = best + 1; i < count; i++) {
        tokens[i] = tokens[i + 1];
        next[i - 1] = next[i];
      }
      if (best > 0) next[best - 1] = merges_.find(tokens[best - 1], tokens[best]);
      if (best + 1 < count) next[best] = merges_.find(tokens[best], tokens[best + 1]);
    }
    out_.insert(out_.end(), tokens, tokens + count);
  }

  // The same with a heap, so that a long piece takes n log n.
  void merge_long(Text a, Text b) {
    if (static_cast<u64>(b - a) >= kNone) throw std::length_error("a piece of more than 4 GiB");
    std::vector<u32> token, left, right;
    token.reserve(static_cast<std::size_t>(b - a));
    for (Text p = a; p < b; p++)
      if (byte_tokens_[*p] != kNone) token.push_back(byte_tokens_[*p]);
    u32 count = static_cast<u32>(token.size());
    left.resize(count);
    right.resize(count);
    std::vector<u64> heap;  // rank, then place
    heap.reserve(count);
    auto offer = [&](u32 at) {
      if (right[at] == kNone) return false;
      u32 rank = merges_.find(token[at], token[right[at]]).rank;
      if (rank == kNone) return false;
      heap.push_back((u64{rank} << 32) | at);
      return true;
    };
    auto push = [&](u32 at) {
      if (offer(at)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    };
    for (u32 i = 0; i < count; i++) {
      left[i] = i ? i - 1 : kNone;
      right[i] = i + 1 < count ? i + 1 : kNone;
    }
    for (u32 i = 0; i < count; i++) offer(i);
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      u32 at = static_cast<u32>(heap.back()), rank = static_cast<u32>(heap.back() >> 32);
      heap.pop_back();
      if (token[at] == kNone || right[at] == kNone) continue;  // became part of another
      Merges::Result merged = merges_.find(token[at], token[right[at]]);
      if (merged.rank != rank) continue;  // the pair here is another by now
      u32 gone = right[at];
      token[at] = merged.token;
      token[gone] = kNone;
      right[at] = right[gone];
      if (right[at] != kNone) left[right[at]] = at;
      push(at);
      if (left[at] != kNone) push(left[at]);
    }
    for (u32 t : token)
      if (t != kNone) out_.push_back(t);
  }

  Classes classes_;
  std::vector<Rule> rules_;
  std::vector<u32> byte_tokens_;
  Merges merges_;
  Cache cache_;
  std::vector<u32> out_;
  std::vector<std::size_t>* ends_ = nullptr;
  Text begin_ = nullptr;
};

}  // namespace

void bind_bpe(nb::module_& m) {
  nb::class_<Encoder>(m, "Encoder")
      .def(nb::init<nb::bytes, const std::vector<std::vector<u32>>&, const std::vector<u32>&, nb::bytes>())
      .def("encode", &Encoder::encode)
      .def("cuts", &Encoder::cuts);
}
