// Finds the grams and short texts of a decontamination index in one file. The readable twin, which
// this must equal, is midfill/corpus/decontamination/matcher.py.
//
// Every word is hashed as it is read; a gram's hash is the xor of its words' hashes, each rotated
// by its place, so one step costs the same for any n. A small bitmap knows which pairs of words the
// index holds: nearly every gram has another pair in it and is turned away without a look at the
// large tables. What is found there is compared word by word, so no collision becomes a hit.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nb = nanobind;

namespace {

using u8 = std::uint8_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

constexpr unsigned kRing = 64;  // words remembered; no gram and no short text is longer

enum Class : u8 { kOther, kWord, kLineFeed, kReturn, kHigh };

struct Tables {
  u8 kind[256];
  u8 lower[256];
  Tables() {
    for (int c = 0; c < 256; c++) {
      bool upper = c >= 'A' && c <= 'Z';
      bool word = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
      kind[c] = c >= 0x80 ? kHigh : word ? kWord : c == '\n' ? kLineFeed : c == '\r' ? kReturn : kOther;
      lower[c] = static_cast<u8>(upper ? c + 32 : c);
    }
  }
};
const Tables kTables;

inline u64 rotated(u64 value, unsigned by) {
  by &= 63;
  return by ? (value << by) | (value >> (64 - by)) : value;
}

inline u64 mixed(u64 h) {
  h ^= h >> 32;
  h *= 0x9E3779B97F4A7C15ull;
  h ^= h >> 29;
  h *= 0xBF58476D1CE4E5B9ull;
  return h ^ (h >> 32);
}

constexpr u64 kSeed = 0xCBF29CE484222325ull, kStep = 0x100000001B3ull;

// One code point of UTF-8 that Python wrote; damaged bytes stand for nothing and end no buffer.
inline Py_UCS4 code_point(const u8* p, const u8* end, unsigned& length) {
  unsigned size = *p >= 0xF0 ? 4 : *p >= 0xE0 ? 3 : *p >= 0xC0 ? 2 : 1;
  if (size == 1 || static_cast<std::size_t>(end - p) < size) {
    length = 1;
    return 0;
  }
  Py_UCS4 value = *p & (0xFF >> (size + 1));
  for (unsigned i = 1; i < size; i++) value = (value << 6) | (p[i] & 0x3F);
  length = size;
  return value <= 0x10FFFF ? value : 0;
}

struct Word {
  u64 hash;
  const u8* start;
  std::size_t size;
  i64 line;
};

// Reads words one by one and counts lines; LF, CR LF and a lone CR end one.
class Reader {
 public:
  Reader(const u8* begin, const u8* end) : at(begin), end_(end) {}

  bool done() const { return at >= end_; }
  bool starts(const std::string& mark) const {
    if (static_cast<std::size_t>(end_ - at) < mark.size()) return false;
    for (std::size_t i = 0; i < mark.size(); i++)
      if (kTables.lower[at[i]] != static_cast<u8>(mark[i])) return false;
    return true;
  }
  // Takes one word, true, or one other character, false.
  bool take(Word& word) {
    u8 kind = kTables.kind[*at];
    if (kind == kOther) return at++, false;
    if (kind == kWord || kind == kHigh) return take_word(word);
    if (kind == kLineFeed || at + 1 == end_ || at[1] != '\n') line++;
    at++;
    return false;
  }

  const u8* at;
  i64 line = 1;

 private:
  bool take_word(Word& word) {
    const u8* from = at;
    u64 hash = kSeed;
    while (at < end_) {
      u8 kind = kTables.kind[*at];
      if (kind == kWord) {
        hash = (hash ^ kTables.lower[*at++]) * kStep;
        continue;
      }
      if (kind != kHigh) break;
      unsigned length;
      if (!Py_UNICODE_ISALNUM(code_point(at, end_, length))) {
        if (at == from) at += length;
        else break;
        return false;
      }
      for (unsigned i = 0; i < length; i++) hash = (hash ^ *at++) * kStep;
    }
    word = {mixed(hash), from, static_cast<std::size_t>(at - from), line};
    return true;
  }
  const u8* end_;
};

// Pairs of words that stand side by side somewhere in the index, and a few others.
class Pairs {
 public:
  void build(const std::vector<u64>& word_hash, const std::vector<i32>& stream) {
    unsigned bits = 10;
    while (bits < kMostBits && (std::size_t{1} << bits) < stream.size() * 8) bits++;
    shift_ = 64 - bits;
    bits_.assign(std::size_t{1} << (bits - 6), 0);
    for (std::size_t i = 1; i < stream.size(); i++) {
      u64 at = place(word_hash[stream[i - 1]], word_hash[stream[i]]);
      bits_[at >> 6] |= u64{1} << (at & 63);
    }
  }
  bool hold(u64 first, u64 second) const {
    u64 at = place(first, second);
    return (bits_[at >> 6] >> (at & 63)) & 1;
  }

 private:
  static constexpr unsigned kMostBits = 23;  // a MiB: it stays near the processor
  u64 place(u64 first, u64 second) const {
    return ((rotated(first, 1) ^ second) * 0x9E3779B97F4A7C15ull) >> shift_;
  }
  std::vector<u64> bits_;
  unsigned shift_ = 0;
};

// From hash to id, several ids a hash where texts collide; nearly every miss costs one bit.
class HashTable {
 public:
  void build(const std::vector<u64>& hashes) {
    unsigned bits = 10;
    while ((std::size_t{1} << bits) < hashes.size() * 2) bits++;
    shift_ = 64 - bits;
    slots_.assign(std::size_t{1} << bits, Slot{0, -1});
    filter_shift_ = shift_ - 3;  // 8 bits a slot
    filter_.assign(std::size_t{1} << (bits + 3 - 6), 0);
    for (std::size_t id = 0; id < hashes.size(); id++) {
      u64 key = hashes[id] * kSpread;
      filter_[key >> (filter_shift_ + 6)] |= u64{1} << ((key >> filter_shift_) & 63);
      std::size_t at = key >> shift_;
      while (slots_[at].id >= 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = {hashes[id], static_cast<i32>(id)};
    }
  }
  template <class Each>
  void find(u64 hash, Each each) const {
    u64 key = hash * kSpread;
    if (!((filter_[key >> (filter_shift_ + 6)] >> ((key >> filter_shift_) & 63)) & 1)) return;
    for (std::size_t at = key >> shift_; slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].hash == hash) each(slots_[at].id);
  }

 private:
  static constexpr u64 kSpread = 0x9E3779B97F4A7C15ull;
  struct Slot {
    u64 hash;
    i32 id;
  };
  std::vector<Slot> slots_;
  std::vector<u64> filter_;
  unsigned shift_ = 0, filter_shift_ = 0;
};

template <class T>
std::vector<T> values(const nb::bytes& raw) {
  std::vector<T> out(raw.size() / sizeof(T));
  std::memcpy(out.data(), raw.c_str(), out.size() * sizeof(T));
  return out;
}

using Marks = std::vector<std::pair<std::string, std::string>>;  // opens, closes; "": at line end
using Found = std::unordered_map<i32, i64>;                       // id to its first line

class Matcher {
 public:
  Matcher(unsigned n, unsigned ending, nb::bytes words, nb::bytes ends, nb::bytes stream, nb::bytes gram_at,
          nb::bytes text_at, nb::bytes text_size)
      : n_(n),
        ending_(ending),
        words_(values<u8>(words)),
        ends_(values<i64>(ends)),
        stream_(values<i32>(stream)),
        gram_at_(values<i32>(gram_at)),
        text_at_(values<i32>(text_at)),
        text_size_(values<i32>(text_size)) {
    check();
    std::vector<u64> word_hash(ends_.size()), hashes;
    for (std::size_t i = 0; i < ends_.size(); i++) {
      u64 hash = kSeed;
      for (i64 at = begin(i); at < ends_[i]; at++) hash = (hash ^ words_[at]) * kStep;
      word_hash[i] = mixed(hash);
    }
    auto joined = [&](i64 from, unsigned count) {
      u64 hash = 0;
      for (unsigned i = 0; i < count; i++) hash = rotated(hash, 1) ^ word_hash[stream_[from + i]];
      return hash;
    };
    pairs_.build(word_hash, stream_);
    for (i32 at : gram_at_) hashes.push_back(joined(at, n_));
    grams_.build(hashes);
    hashes.clear();
    for (std::size_t i = 0; i < text_at_.size(); i++)
      hashes.push_back(joined(text_at_[i] + text_size_[i] - ending_, ending_));
    texts_.build(hashes);
  }

  // Pairs of id and line of everything found, by id: grams first, then short texts.
  std::vector<std::pair<i32, i64>> scan(nb::bytes text, const Marks& marks) const {
    const u8* begin = reinterpret_cast<const u8*>(text.c_str());
    const u8* end = begin + text.size();
    Found found;
    {
      nb::gil_scoped_release free;
      bool letters = false;
      for (const auto& mark : marks)
        for (u8 c : mark.first + mark.second) letters |= kTables.kind[c] == kWord || c >= 0x80;
      if (marks.empty() || letters) plain(begin, end, found);
      if (!marks.empty()) split(begin, end, marks, !letters, found);
    }
    std::vector<std::pair<i32, i64>> out(found.begin(), found.end());
    std::sort(out.begin(), out.end());
    return out;
  }

 private:
  // The last words of one reading of the file: all of it, its code, or its comments.
  class Words {
   public:
    Words(const Matcher& index, Found& found) : index_(index), found_(found) {}

    // `repeats`: how many of the last words another reading has had in a row as well.
    void push(const Word& word, u64 repeats = 0) {
      unsigned n = index_.n_, ending = index_.ending_;
      u64 leaving = count_ >= n ? ring_[(count_ - n) % kRing].hash : 0;
      bool known = count_ && index_.pairs_.hold(ring_[(count_ - 1) % kRing].hash, word.hash);
      run_ = known ? run_ + 1 : 1;
      rolled_ = rotated(rolled_, 1) ^ rotated(leaving, n) ^ word.hash;
      ring_[count_++ % kRing] = word;
      if (run_ >= n && repeats < n)
        index_.grams_.find(rolled_, [&](i32 id) { confirm(id, index_.gram_at_[id], n); });
      if (run_ >= ending && repeats < kRing && !index_.text_at_.empty()) end_text(ending);
    }

   private:
    void end_text(unsigned ending) {
      u64 tail = 0;
      for (u64 i = count_ - ending; i < count_; i++) tail = rotated(tail, 1) ^ ring_[i % kRing].hash;
      index_.texts_.find(tail, [&](i32 id) {
        confirm(id + static_cast<i32>(index_.gram_at_.size()), index_.text_at_[id],
                static_cast<unsigned>(index_.text_size_[id]));
      });
    }

    void confirm(i32 id, i32 at, unsigned size) {
      if (count_ < size) return;
      auto known = found_.find(id);
      const Word& first = ring_[(count_ - size) % kRing];
      if (known != found_.end() && known->second <= first.line) return;
      for (unsigned back = 1; back <= size; back++)
        if (!index_.same(index_.stream_[at + size - back], ring_[(count_ - back) % kRing])) return;
      found_[id] = first.line;
    }
    const Matcher& index_;
    Found& found_;
    Word ring_[kRing];
    u64 count_ = 0, rolled_ = 0;
    u64 run_ = 0;  // words up to the last of which every pair is one of the index
  };

  void plain(const u8* begin, const u8* end, Found& found) const {
    Words words(*this, found);
    Word word;
    for (Reader reader(begin, end); !reader.done();)
      if (reader.take(word)) words.push(word);
  }

  // Reads code and comments apart, each as if the other were not there; and, where `all`, the file
  // as it is, which sees the same words if no mark has letters in it.
  void split(const u8* begin, const u8* end, const Marks& marks, bool all, Found& found) const {
    bool opens[256] = {};
    for (const auto& mark : marks)
      if (!mark.first.empty()) opens[static_cast<u8>(mark.first[0])] = true;
    Words file(*this, found), code(*this, found), comments(*this, found);
    const std::string* close = nullptr;  // of the comment we are in
    u64 in_a_row = 0;                    // words since a comment last began or ended
    Word word;
    for (Reader reader(begin, end); !reader.done();) {
      u8 c = *reader.at;
      if (!close && opens[kTables.lower[c]] && (close = opened(reader, marks))) {
        in_a_row = 0;
        continue;
      }
      if (close && closed(reader, *close)) {
        close = nullptr;
        in_a_row = 0;
        continue;
      }
      if (!reader.take(word)) continue;
      in_a_row++;
      if (all) file.push(word);
      (close ? comments : code).push(word, all ? in_a_row : 0);
    }
  }

  static const std::string* opened(Reader& reader, const Marks& marks) {
    for (const auto& mark : marks)
      if (!mark.first.empty() && reader.starts(mark.first)) {
        reader.at += mark.first.size();
        return &mark.second;
      }
    return nullptr;
  }

  static bool closed(Reader& reader, const std::string& close) {
    u8 c = *reader.at;
    if (close.empty()) return c == '\n' || c == '\r';  // which the reader still has to count
    if (c != static_cast<u8>(close[0]) || !reader.starts(close)) return false;
    reader.at += close.size();
    return true;
  }

  i64 begin(std::size_t word) const { return word ? ends_[word - 1] : 0; }

  bool same(i32 id, const Word& word) const {
    i64 from = begin(id);
    if (ends_[id] - from != static_cast<i64>(word.size)) return false;
    for (std::size_t i = 0; i < word.size; i++)
      if (words_[from + i] != kTables.lower[word.start[i]]) return false;
    return true;
  }

  // Arrays of an index are plain files, so nothing in them is taken on trust.
  void check() const {
    auto need = [](bool fits) {
      if (!fits) throw std::invalid_argument("the arrays of this index contradict each other");
    };
    need(n_ >= 1 && n_ < kRing && ending_ >= 1 && ending_ <= n_);
    need(text_at_.size() == text_size_.size());
    i64 last = 0, size = static_cast<i64>(stream_.size());
    for (i64 end : ends_) need(end >= last), last = end;
    need(last == static_cast<i64>(words_.size()));
    for (i32 id : stream_) need(id >= 0 && static_cast<std::size_t>(id) < ends_.size());
    for (i32 at : gram_at_) need(at >= 0 && at + static_cast<i64>(n_) <= size);
    for (std::size_t i = 0; i < text_at_.size(); i++) {
      need(text_size_[i] >= static_cast<i64>(ending_) && text_size_[i] <= static_cast<i64>(kRing));
      need(text_at_[i] >= 0 && text_at_[i] + static_cast<i64>(text_size_[i]) <= size);
    }
  }

  unsigned n_, ending_;
  std::vector<u8> words_;
  std::vector<i64> ends_;
  std::vector<i32> stream_, gram_at_, text_at_, text_size_;
  Pairs pairs_;
  HashTable grams_, texts_;
};

}  // namespace

void bind_grams(nb::module_& m) {
  nb::class_<Matcher>(m, "GramMatcher")
      .def(nb::init<unsigned, unsigned, nb::bytes, nb::bytes, nb::bytes, nb::bytes, nb::bytes, nb::bytes>())
      .def("scan", &Matcher::scan);
}
