// Loops over the characters of source code: words as hashes, measures of reading, comments left out,
// names that occur. Each has a twin in Python that says what is found: quality/model.py,
// quality/heuristics.py and dependencies/words.py; the two are equal on every text.
#include "characters.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

template <class Char>
nb::object string_of(const Char* p, Place length) {
  PyObject* made = PyUnicode_FromKindAndData(sizeof(Char), p, length);
  if (made == nullptr) throw nb::python_error();
  return nb::steal(made);
}

nb::list list_of(const std::vector<Place>& places) {
  nb::list list;
  for (Place place : places) list.append(place);
  return list;
}

// ---- characters --------------------------------------------------------------------------------

enum Class : uint8_t {
  kWord = 1,   // what `\w` is
  kDigit = 2,  // what `\d` is
  kSpace = 4,  // what `\s` is
  kUpper = 8,  // A to Z
  kLetter = 16,  // may begin a name: ASCII letters, _ and all that is not ASCII
  kNumber = 32,  // 0 to 9
};

std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; c++) {
    const bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
    uint8_t flags = 0;
    if (Py_UNICODE_ISALNUM(c) || c == '_') flags |= kWord;
    if (Py_UNICODE_ISDECIMAL(c)) flags |= kDigit;
    if (Py_UNICODE_ISSPACE(c)) flags |= kSpace;
    if (upper) flags |= kUpper;
    if (upper || lower || c == '_' || c >= 128) flags |= kLetter;
    if (c >= '0' && c <= '9') flags |= kNumber;
    table[c] = flags;
  }
  return table;
}

const std::array<uint8_t, 256> classes = make_classes();

inline uint8_t class_of(uint8_t c) { return classes[c]; }
template <class Char>
inline uint8_t class_of(Char c) {
  if (c < 256) return classes[c];
  uint8_t flags = kLetter;
  if (Py_UNICODE_ISALNUM(c)) flags |= kWord;
  if (Py_UNICODE_ISDECIMAL(c)) flags |= kDigit;
  if (Py_UNICODE_ISSPACE(c)) flags |= kSpace;
  return flags;
}

template <class Char>
inline bool is_word(Char c) {
  return class_of(c) & kWord;
}

inline bool is_blank(uint32_t c) { return c == ' ' || c == '\t'; }

// ---- marks -------------------------------------------------------------------------------------

using Mark = std::u32string;  // empty: there is none

Mark mark_of(nb::handle given) {
  Mark mark;
  if (given.is_none()) return mark;
  with_characters(nb::cast<nb::str>(given), [&](auto* p, Place length) {
    mark.assign(p, p + length);
    return 0;
  });
  return mark;
}

template <class Char>
inline bool stands_at(const Char* p, Place length, Place at, const Mark& mark) {
  const Place size = static_cast<Place>(mark.size());
  if (size > length - at) return false;
  for (Place i = 0; i < size; i++)
    if (static_cast<uint32_t>(p[at + i]) != mark[i]) return false;
  return true;
}

template <class Char>
inline Place find_character(const Char* p, Place from, Place end, uint32_t c) {
  if constexpr (sizeof(Char) == 1) {
    if (c > 255) return end;
    const void* hit = from < end ? memchr(p + from, static_cast<int>(c), end - from) : nullptr;
    return hit ? static_cast<const Char*>(hit) - p : end;
  } else {
    while (from < end && static_cast<uint32_t>(p[from]) != c) from++;
    return from;
  }
}

// Where the mark next stands, whole, before `end`; -1 for nowhere.
template <class Char>
inline Place find_mark(const Char* p, Place from, Place end, const Mark& mark) {
  const Place size = static_cast<Place>(mark.size());
  if (size == 0) return from <= end ? from : -1;
  for (;;) {
    from = find_character(p, from, end - size + 1 > from ? end - size + 1 : from, mark[0]);
    if (from > end - size) return -1;
    if (stands_at(p, end, from, mark)) return from;
    from++;
  }
}

// ---- words as hashes ---------------------------------------------------------------------------

constexpr uint64_t FNV_BASIS = 0xCBF29CE484222325, FNV_PRIME = 0x100000001B3;

inline uint64_t fold(uint64_t hash, uint32_t c) { return (hash ^ c) * FNV_PRIME; }

template <class Char>
void append_words(const Char* p, Place length, size_t most, std::vector<uint64_t>& words) {
  for (Place i = 0; i < length && words.size() < most;) {
    const uint32_t c = p[i];
    const uint8_t flags = class_of(p[i]);
    uint64_t hash = FNV_BASIS;
    if (flags & kDigit) {
      while (i < length && (class_of(p[i]) & kDigit)) i++;
      hash = fold(hash, '0');
    } else if (c == '_') {
      while (i < length && p[i] == '_') hash = fold(hash, '_'), i++;
    } else if (flags & kWord) {
      do hash = fold(hash, p[i++]);
      while (i < length && p[i] != '_' && (class_of(p[i]) & (kWord | kDigit)) == kWord);
    } else if (c == '\n') {
      do hash = fold(hash, p[i++]);
      while (i < length && is_blank(p[i]));
    } else if (flags & kSpace) {
      i++;
      continue;
    } else {
      hash = fold(hash, c), i++;
    }
    words.push_back(hash);
  }
}

nb::bytes code_words(nb::str text, size_t most) {
  std::vector<uint64_t> words;
  with_characters(text, [&](auto* p, Place length) {
    words.reserve(std::min(most, static_cast<size_t>(length) / 2 + 1));
    append_words(p, length, most, words);
    return 0;
  });
  return nb::bytes(reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint64_t));
}

// ---- measures ----------------------------------------------------------------------------------

constexpr uint32_t BLANK = 32;  // this code and below
constexpr Place TAB = 4, SHORT_LINE = 3;

struct Counts {
  Place filled = 0, commented = 0, strings = 0, digits = 0;
  Place names = 0, name_characters = 0, one_letter = 0;
  Place lines = 0, columns = 0, step = 0, functions = 0, long_lines = 0, repeated = 0;
};

template <class Char>
inline Place count_filled(const Char* p, Place from, Place to) {
  Place filled = 0;
  while (from < to) {
    const Place end = to - from < 255 ? to : from + 255;  // so that a byte can count
    uint8_t few = 0;
    for (; from < end; from++) few += p[from] > BLANK;
    filled += few;
  }
  return filled;
}

struct Language {
  Mark line, opening, closing;
  bool python, single, backtick;
};

// Splits a text into code, comments and strings.
template <class Char>
class Splitter {
 public:
  Splitter(const Char* p, Place length, const Language& language, Counts& counts)
      : p_(p), length_(length), language_(language), counts_(counts) {
    opens_[static_cast<size_t>('"')] = true;
    if (language.single) opens_[static_cast<size_t>('\'')] = true;
    if (language.backtick) opens_[static_cast<size_t>('`')] = true;
    for (const Mark* mark : {&language.line, &language.opening})
      if (!mark->empty()) (*mark)[0] < 256 ? opens_[(*mark)[0]] = true : opens_wide_ = true;
  }

  void run() {
    Place piece = 0, name = -1;  // where this piece of code began, and the run of letters in it
    for (Place i = 0; i < length_;) {
      const Char c = p_[i];
      const bool may_open = is_open(c);
      const Place end = may_open ? close(i, piece) : 0;
      if (end > 0) {
        end_name(name, i);
        name = -1;
        i = piece = end;
        continue;
      }
      const uint8_t flags = class_of(c);
      if (flags & (kLetter | kNumber)) {
        counts_.digits += (flags & kNumber) != 0;
        if (name < 0) name = i;
      } else if (name >= 0) {
        end_name(name, i);
        name = -1;
      }
      i++;
      if (i == length_) end_name(name, i);
    }
  }

 private:
  bool is_open(Char c) const {
    if constexpr (sizeof(Char) == 1) return opens_[c];
    return c < 256 ? opens_[c] : opens_wide_;
  }

  void end_name(Place start, Place end) {
    if (start < 0 || !(class_of(p_[start]) & kLetter)) return;
    counts_.names++;
    counts_.name_characters += end - start;
    counts_.one_letter += end - start == 1;
  }

  // The end of the comment or string that begins at `i`, counted; 0 where none does.
  Place close(Place i, Place piece) {
    if (!language_.line.empty() && stands_at(p_, length_, i, language_.line)) {
      const Place from = i + static_cast<Place>(language_.line.size());
      return comment(i, find_character(p_, from, length_, '\n'));
    }
    if (!language_.opening.empty() && stands_at(p_, length_, i, language_.opening)) {
      const Place from = i + static_cast<Place>(language_.opening.size());
      const Place found = find_mark(p_, from, length_, language_.closing);
      return comment(i, found < 0 ? length_
                                  : found + static_cast<Place>(language_.closing.size()));
    }
    const Char c = p_[i];
    if (c != '"' && !(c == '\'' && language_.single) && !(c == '`' && language_.backtick)) return 0;
    if (language_.python && i + 2 < length_ && p_[i + 1] == c && p_[i + 2] == c) {
      const Place found = find_mark(p_, i + 3, length_, Mark(3, c));
      const Place end = found < 0 ? length_ : found + 3;
      return begins_docstring(i, piece) ? comment(i, end) : string(i, end);
    }
    return string(i, c == '`' ? end_of_template(i + 1) : end_of_string(i + 1, c));
  }

  Place comment(Place start, Place end) {
    counts_.commented += count_filled(p_, start, end);
    return end;
  }

  Place string(Place start, Place end) {
    counts_.strings += end - start;
    return end;
  }

  Place end_of_string(Place i, Char quote) const {
    for (; i < length_; i++) {
      if (p_[i] == quote) return i + 1;
      if (p_[i] == '\n') return i;
      if (p_[i] == '\\') {
        if (i + 1 >= length_ || p_[i + 1] == '\n') return i;
        i++;
      }
    }
    return length_;
  }

  Place end_of_template(Place i) const {
    for (; i < length_; i++) {
      if (p_[i] == '`') return i + 1;
      if (p_[i] == '\\') i++;
    }
    return length_;
  }

  bool begins_docstring(Place i, Place piece) const {
    const Place floor = std::max(piece, i - 200);
    const auto is_prefix = [](Char c) {
      return c == 'r' || c == 'R' || c == 'u' || c == 'U' || c == 'b' || c == 'B';
    };
    if (i > floor && is_prefix(p_[i - 1])) i--;
    while (i > floor && is_blank(p_[i - 1])) i--;
    return i == floor || p_[i - 1] == '\n';
  }

  const Char* p_;
  Place length_;
  const Language& language_;
  Counts& counts_;
  std::array<bool, 256> opens_{};
  bool opens_wide_ = false;
};

// The first lines of functions, as the pattern _FUNCTION of the twin has them.
template <class Char>
class Functions {
 public:
  Functions(const Char* p, Place length) : p_(p), length_(length) {}

  // The end of the match that begins with the line at `line`; -1 where there is none.
  Place match(Place line) const {
    const Place at = blanks(line);
    if (at >= length_) return -1;
    const uint32_t c = p_[at];
    if (c == '(') return lisp(at);
    if (is_word(p_[at])) {
      const Place end = keyword(at);
      if (end >= 0) return end;
    }
    const bool begins = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '~' ||
                        c == '@';
    return begins && !one_of(at, CONTROL) ? braces(at) : -1;
  }

 private:
  static constexpr std::array<const char*, 10> KEYWORDS{
      "def", "defp", "func", "function", "fn", "fun", "sub", "proc", "procedure", "method"};
  static constexpr std::array<const char*, 4> LISP{"defun", "defn", "define", "defmethod"};
  static constexpr std::array<const char*, 14> CONTROL{
      "if",  "for",   "foreach", "while", "switch", "catch", "else",
      "do", "try", "using",   "lock",  "return", "case",  "with"};
  static constexpr Place LONGEST_WORD = 9, HEAD = 200, GAP = 80;

  Place blanks(Place at) const {
    while (at < length_ && is_blank(p_[at])) at++;
    return at;
  }

  Place word(Place at) const {
    while (at < length_ && is_word(p_[at])) at++;
    return at;
  }

  // Whether the whole word at `at` is one of these.
  template <size_t N>
  bool one_of(Place at, const std::array<const char*, N>& words) const {
    Place end = at;
    while (end < length_ && end - at <= LONGEST_WORD && is_word(p_[end])) end++;
    for (const char* word : words) {
      Place i = 0;
      while (word[i] && at + i < end && p_[at + i] == static_cast<Char>(word[i])) i++;
      if (!word[i] && at + i == end) return true;
    }
    return false;
  }

  Place keyword(Place at) const {
    for (int i = 0; i < 5; i++) {
      const bool is_keyword = one_of(at, KEYWORDS);
      const Place end = word(at), next = blanks(end);
      if (end == at) return -1;
      if (is_keyword && next < length_ &&
          (is_word(p_[next]) || p_[next] == '(' || p_[next] == '*'))
        return next + 1;
      if (next == end) return -1;
      at = next;
    }
    return -1;
  }

  Place lisp(Place at) const {
    return at + 1 < length_ && one_of(at + 1, LISP) ? word(at + 1) : -1;
  }

  Place braces(Place at) const {
    const Place head = at + 1, limit = std::min(length_, head + HEAD + 1 + 2 * GAP + 1);
    Place stop = head, bracket = -1;
    for (; stop < limit; stop++) {
      const uint32_t c = p_[stop];
      if (c == '(' || c == ')') bracket = stop;
      if (c == '{' || c == '\n' || c == ';' || c == '}' || c == '=' || c == '"') break;
    }
    if (stop >= limit || bracket < 0 || p_[bracket] != ')' || bracket - head > HEAD) return -1;
    const Place gap = stop - bracket - 1;
    if (p_[stop] == '{') {
      Place from = bracket + 1 + std::min(gap, GAP);
      if (stop - from > GAP) return -1;
      while (from < stop && is_blank(p_[from])) from++;
      return from == stop ? stop + 1 : -1;
    }
    if (p_[stop] != '\n' || gap > GAP) return -1;
    Place i = stop + 1;
    while (i < length_ && i - stop <= GAP && is_blank(p_[i])) i++;
    return i < length_ && p_[i] == '{' ? i + 1 : -1;
  }

  const Char* p_;
  Place length_;
};

uint64_t hash_of(const void* data, size_t size) {
  const uint8_t* p = static_cast<const uint8_t*>(data);
  uint64_t hash = size * 0x9E3779B97F4A7C15, part = 0;
  for (; size >= 8; size -= 8, p += 8) {
    memcpy(&part, p, 8);
    hash = (hash ^ part) * 0xD6E8FEB86659FD93;
    hash ^= hash >> 32;
  }
  part = 0;
  if (size > 0) memcpy(&part, p, size);
  hash = (hash ^ part) * 0xD6E8FEB86659FD93;
  return hash ^ (hash >> 32);
}

// Distinct pieces of a text, with a flag for each.
template <class Char>
class Distinct {
 public:
  struct Piece {
    uint64_t hash;
    Place start = -1, length = 0;
    bool flag = false;
  };

  explicit Distinct(const Char* p) : p_(p), slots_(256, -1) {}

  // The piece equal to this one, which is added where there is none.
  Piece& find(Place start, Place length, bool& added) {
    const uint64_t hash = hash_of(p_ + start, length * sizeof(Char));
    size_t at = hash & (slots_.size() - 1);
    for (; slots_[at] >= 0; at = (at + 1) & (slots_.size() - 1)) {
      Piece& piece = pieces_[slots_[at]];
      if (piece.hash == hash && piece.length == length &&
          memcmp(p_ + piece.start, p_ + start, length * sizeof(Char)) == 0) {
        added = false;
        return piece;
      }
    }
    slots_[at] = static_cast<int64_t>(pieces_.size());
    pieces_.push_back({hash, start, length, false});
    if (2 * pieces_.size() > slots_.size()) grow();
    added = true;
    return pieces_.back();
  }

  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  void grow() {
    slots_.assign(4 * slots_.size(), -1);
    for (size_t i = 0; i < pieces_.size(); i++) {
      size_t at = pieces_[i].hash & (slots_.size() - 1);
      while (slots_[at] >= 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = static_cast<int64_t>(i);
    }
  }

  const Char* p_;
  std::vector<int64_t> slots_;
  std::vector<Piece> pieces_;
};

// The most frequent step between indentations; the smallest of equally frequent ones.
class Steps {
 public:
  void add(Place step) { step < SMALL ? few_[step]++ : many_[step]++; }
  Place most_frequent() const {
    Place best = 0, times = 0;
    for (Place step = 1; step < SMALL; step++)
      if (few_[step] > times) best = step, times = few_[step];
    for (const auto& [step, count] : many_)
      if (count > times || (count == times && step < best)) best = step, times = count;
    return best;
  }

 private:
  static constexpr Place SMALL = 256;
  std::array<Place, SMALL> few_{};
  std::unordered_map<Place, Place> many_;
};

template <class Char>
void measure_lines(const Char* p, Place length, Counts& counts) {
  const Functions<Char> functions(p, length);
  Distinct<Char> lines(p);
  Steps steps;
  Place free_from = 0, before = -1;  // the end of the last function's match, the last indentation
  for (Place start = 0; start <= length;) {
    const Place end = find_character(p, start, length, '\n');
    Place at = start, tabs = 0;
    for (; at < end && p[at] <= BLANK; at++) tabs += p[at] == '\t';
    if (at < end) {
      const Place columns = at - start + (TAB - 1) * tabs;
      counts.lines++;
      counts.columns += columns;
      if (before >= 0 && columns > before) steps.add(columns - before);
      before = columns;
    }
    Place left = start, right = end;
    while (left < right && (class_of(p[left]) & kSpace)) left++;
    while (right > left && (class_of(p[right - 1]) & kSpace)) right--;
    if (right - left > SHORT_LINE) {
      bool added;
      lines.find(left, right - left, added);
      counts.long_lines++;
      counts.repeated += !added;
    }
    if (start >= free_from) {
      const Place matched = functions.match(start);
      if (matched >= 0) counts.functions++, free_from = matched;
    }
    start = end + 1;
  }
  counts.step = steps.most_frequent();
}

nb::tuple code_counts(nb::str text, nb::object line, nb::object opening, nb::object closing,
                      bool python, bool single, bool backtick) {
  const Language language{mark_of(line), mark_of(opening), mark_of(closing),
                          python,        single,           backtick};
  Counts c;
  with_characters(text, [&](auto* p, Place length) {
    using Char = std::remove_const_t<std::remove_pointer_t<decltype(p)>>;
    c.filled = count_filled(p, 0, length);
    Splitter<Char>(p, length, language, c).run();
    measure_lines(p, length, c);
    return 0;
  });
  return nb::make_tuple(c.filled, c.commented, c.strings, c.digits, c.names, c.name_characters,
                        c.one_letter, c.lines, c.columns, c.step, c.functions, c.long_lines,
                        c.repeated);
}

// ---- comments ----------------------------------------------------------------------------------

constexpr Place LOOK_BACK = 400;

// Whether the line holds a line comment's mark, or an odd number of quotes, before this place.
template <class Char>
bool in_line_comment_or_string(const Char* p, Place place, const Mark& line) {
  const Place floor = std::max<Place>(0, place - LOOK_BACK);
  Place begin = place;
  unsigned quotes = 0;
  while (begin > floor && p[begin - 1] != '\n') quotes += p[--begin] == '"';
  return quotes % 2 == 1 || find_mark(p, begin, place, line) >= 0;
}

// Calls `found(start, end)` for each block comment that begins at `last` or before.
template <class Char, class Found>
void each_comment(const Char* p, Place length, Place last, const Mark& line, const Mark& opening,
                  const Mark& closing, Found found) {
  const Place opened = static_cast<Place>(opening.size());
  const Place until = last < length - opened ? last + opened : length;
  Place start = find_mark(p, 0, until, opening);
  while (start >= 0) {
    const Place after = start + opened;
    if (opening[0] != '\n' && in_line_comment_or_string(p, start, line)) {
      start = find_mark(p, after, until, opening);
      continue;
    }
    const Place close = find_mark(p, after, length, closing);
    const Place end = close < 0 ? length : close + static_cast<Place>(closing.size());
    found(start, end);
    start = find_mark(p, end, until, opening);
  }
}

Mark some_mark(nb::str given) {
  Mark mark = mark_of(given);
  if (mark.empty()) throw nb::value_error("a comment's mark is empty");
  return mark;
}

nb::object without_comments(nb::str text, nb::str line, nb::str opening, nb::str closing) {
  const Mark marks[] = {some_mark(line), some_mark(opening), some_mark(closing)};
  return with_characters(text, [&](auto* p, Place length) -> nb::object {
    using Char = std::remove_const_t<std::remove_pointer_t<decltype(p)>>;
    std::vector<Char> kept;
    Place place = 0;
    each_comment(p, length, length, marks[0], marks[1], marks[2], [&](Place start, Place end) {
      if (place == 0) kept.reserve(length + 1);
      kept.insert(kept.end(), p + place, p + start);
      kept.push_back(' ');
      place = end;
    });
    if (place == 0) return text;
    kept.insert(kept.end(), p + place, p + length);
    return string_of(kept.data(), static_cast<Place>(kept.size()));
  });
}

nb::list outside(nb::str text, const nb::list& places, nb::str line, nb::str opening,
                 nb::str closing) {
  const Mark marks[] = {some_mark(line), some_mark(opening), some_mark(closing)};
  std::vector<Place> wanted, kept;
  for (nb::handle place : places) wanted.push_back(nb::cast<Place>(place));
  const Place count = static_cast<Place>(wanted.size());
  Place next = 0;
  const Place last = count > 0 ? wanted.back() : -1;
  with_characters(text, [&](auto* p, Place length) {
    each_comment(p, length, last, marks[0], marks[1], marks[2], [&](Place start, Place end) {
      for (; next < count && wanted[next] < end; next++)
        if (wanted[next] < start) kept.push_back(next);
    });
    return 0;
  });
  for (; next < count; next++) kept.push_back(next);
  return list_of(kept);
}

// ---- names that occur --------------------------------------------------------------------------

nb::dict capitalised(nb::str text, nb::str line) {
  const Mark mark = some_mark(line);
  return with_characters(text, [&](auto* p, Place length) {
    using Char = std::remove_const_t<std::remove_pointer_t<decltype(p)>>;
    Distinct<Char> words(p);
    for (Place i = 0; i < length;) {
      if (p[i] < 'A' || p[i] > 'Z') {
        i++;
        continue;
      }
      const Place capital = i;
      while (i < length && is_word(p[i])) i++;
      bool added;
      auto& piece = words.find(capital, i - capital, added);
      if (!piece.flag && (capital == 0 || !is_word(p[capital - 1])))
        piece.flag = !in_line_comment_or_string(p, capital, mark);
    }
    nb::dict result;
    for (const auto& piece : words.pieces()) {
      const nb::object word = string_of(p + piece.start, piece.length);
      if (PyDict_SetItem(result.ptr(), word.ptr(), piece.flag ? Py_True : Py_False) != 0)
        throw nb::python_error();
    }
    return result;
  });
}

// ---- places ------------------------------------------------------------------------------------

std::vector<Mark> marks_of(const nb::tuple& given) {
  std::vector<Mark> marks;
  for (nb::handle one : given) marks.push_back(some_mark(nb::cast<nb::str>(one)));
  return marks;
}

// What two characters may begin a mark, by a bit for each mark; a bit may be shared, so look closer.
struct Pairs {
  std::array<uint32_t, 256> first{}, second{};

  explicit Pairs(const std::vector<Mark>& marks) {
    for (size_t i = 0; i < marks.size(); i++) {
      const Mark& mark = marks[i];
      if (mark.size() < 2) throw nb::value_error("a word of one character");
      if (mark[0] > 255 || mark[1] > 255) throw nb::value_error("a word outside Latin-1");
      first[mark[0]] |= uint32_t{1} << i % 32;
      second[mark[1]] |= uint32_t{1} << i % 32;
    }
  }
};

template <class Char>
bool any_stands_at(const Char* p, Place length, Place at, const std::vector<Mark>& marks) {
  for (const Mark& mark : marks)
    if (stands_at(p, length, at, mark)) return true;
  return false;
}

nb::list places(nb::str text, const nb::tuple& words) {
  const std::vector<Mark> marks = marks_of(words);
  const Pairs pairs(marks);
  std::vector<Place> found;
  with_characters(text, [&](auto* p, Place length) {
    for (Place i = 0; i + 1 < length; i++) {
      if constexpr (sizeof(*p) > 1)
        if (p[i] > 255 || p[i + 1] > 255) continue;
      if ((pairs.first[p[i]] & pairs.second[p[i + 1]]) && any_stands_at(p, length, i, marks))
        found.push_back(i);
    }
    return 0;
  });
  return list_of(found);
}

nb::list line_starts(nb::str text, const nb::tuple& words) {
  const std::vector<Mark> marks = marks_of(words);
  std::array<bool, 256> first{};
  for (const Mark& mark : marks)
    if (mark[0] < 256) first[mark[0]] = true;
  std::vector<Place> found;
  with_characters(text, [&](auto* p, Place length) {
    for (Place end = find_character(p, 0, length, '\n'); end < length;) {
      Place at = end + 1;
      while (at < length && is_blank(p[at])) at++;
      if (at < length && p[at] < 256 && first[p[at]] && any_stands_at(p, length, at, marks))
        found.push_back(end);
      end = find_character(p, at, length, '\n');
    }
    return 0;
  });
  return list_of(found);
}

}  // namespace

void bind_code(nb::module_& m) {
  m.def("code_words", &code_words, nb::arg("text"), nb::arg("most"),
        "Hashes of the first words of code, 8 bytes each.");
  m.def("code_counts", &code_counts, nb::arg("text"), nb::arg("line").none(),
        nb::arg("opening").none(), nb::arg("closing").none(), nb::arg("python"), nb::arg("single"),
        nb::arg("backtick"), "What the measures of reading are computed from.");
  m.def("without_comments", &without_comments, nb::arg("text"), nb::arg("line"),
        nb::arg("opening"), nb::arg("closing"), "The text with a space for each block comment.");
  m.def("outside", &outside, nb::arg("text"), nb::arg("places"), nb::arg("line"),
        nb::arg("opening"), nb::arg("closing"), "Which of the places lie in no block comment.");
  m.def("capitalised", &capitalised, nb::arg("text"), nb::arg("line"),
        "Words from their first capital on, and whether one stands alone in code.");
  m.def("places", &places, nb::arg("text"), nb::arg("words"), "Where any of the words stands.");
  m.def("line_starts", &line_starts, nb::arg("text"), nb::arg("words"),
        "The line ends behind which, after blanks, any of the words stands.");
}
