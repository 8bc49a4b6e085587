// The loops over characters of midfill.corpus.rules. Every function has a twin in Python, in
// rules/characters.py, which says what is counted; the two are equal on every text.
// Every loop ends at the length of the text.
#include "characters.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace {

enum Class : uint8_t {
  kLetter = 1,
  kSpace = 2,
  kHex = 4,
  kBase64 = 8,
  kWord = 16,     // ASCII letters, digits, underscore
  kAlnum = 32,    // ASCII letters and digits
  kDigit = 64,    // ASCII
  kRunsOn = 128,  // ends no secret on its left: letters, digits, - . _ + %
};

std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; c++) {
    uint8_t flags = 0;
    const bool digit = c >= '0' && c <= '9', upper = c >= 'A' && c <= 'Z',
               lower = c >= 'a' && c <= 'z';
    if (Py_UNICODE_ISALPHA(c)) flags |= kLetter;
    if (Py_UNICODE_ISSPACE(c)) flags |= kSpace;
    if (digit || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f')) flags |= kHex;
    if (digit || upper || lower) flags |= kAlnum | kWord | kBase64 | kRunsOn;
    if (c == '+' || c == '/') flags |= kBase64;
    if (c == '_') flags |= kWord;
    if (c == '_' || c == '-' || c == '.' || c == '+' || c == '%') flags |= kRunsOn;
    if (digit) flags |= kDigit;
    table[c] = flags;
  }
  return table;
}

const std::array<uint8_t, 256> classes = make_classes();

template <class Char>
inline bool is(Char c, uint8_t flags) {
  return static_cast<uint32_t>(c) < 256 && (classes[c] & flags);
}

// ---- statistics ------------------------------------------------------------------------------

inline bool wide_letter(uint32_t c) { return c < 256 ? classes[c] & kLetter : Py_UNICODE_ISALPHA(c); }
inline bool wide_space(uint32_t c) { return c < 256 ? classes[c] & kSpace : Py_UNICODE_ISSPACE(c); }

// How many of `n` Latin-1 characters are letters and how many white space. The comparisons, unlike
// a table, are something a compiler can do for many characters at once.
inline void count_latin(const uint8_t* p, Place n, Place& letters, Place& spaces) {
  while (n > 0) {
    const Place part = n < 252 ? n : 252;  // so that a byte can count
    uint8_t few_letters = 0, few_spaces = 0;
    for (Place i = 0; i < part; i++) {
      const uint8_t c = p[i];
      const uint8_t ascii = static_cast<uint8_t>((c | 0x20) - 'a') < 26;
      const uint8_t high = (c >= 0xC0) & (c != 0xD7) & (c != 0xF7);
      const uint8_t sign = (c == 0xAA) | (c == 0xB5) | (c == 0xBA);
      few_letters += ((c < 0x80) & ascii) | high | sign;
      few_spaces += (static_cast<uint8_t>(c - 9) < 5) | (static_cast<uint8_t>(c - 28) < 5) |
                    (c == 0x85) | (c == 0xA0);
    }
    letters += few_letters;
    spaces += few_spaces;
    p += part;
    n -= part;
  }
}

template <class Char>
inline void count_classes(const Char* p, Place n, Place& letters, Place& spaces) {
  if constexpr (sizeof(Char) == 1) {
    count_latin(p, n, letters, spaces);
  } else {
    for (Place i = 0; i < n; i++) {
      letters += wide_letter(p[i]);
      spaces += wide_space(p[i]);
    }
  }
}

template <class Char>
inline Place find_newline(const Char* p, Place from, Place length) {
  if constexpr (sizeof(Char) == 1) {
    const void* hit = memchr(p + from, '\n', static_cast<size_t>(length - from));
    return hit ? static_cast<const Char*>(hit) - p : length;
  } else {
    while (from < length && p[from] != '\n') from++;
    return from;
  }
}

nb::tuple text_statistics(nb::str text) {
  return with_characters(text, [](auto* p, Place length) {
    Place lines = 0, longest = 0, total = 0, letters = 0, spaces = 0;
    count_classes(p, length, letters, spaces);
    for (Place start = 0; start < length;) {
      const Place end = find_newline(p, start, length);
      const Place line = end - start - (end > start && p[end - 1] == '\r');
      lines++;
      total += line;
      if (line > longest) longest = line;
      start = end + 1;
    }
    return nb::make_tuple(length, lines, longest, total, letters, spaces);
  });
}

// ---- HTML ------------------------------------------------------------------------------------

template <class Char>
struct Html {
  const Char* p;
  Place length;
  Place visible = 0;
  bool gap = false;  // white space since the last visible character

  void character() {
    visible += 1 + (gap && visible > 0);
    gap = false;
  }

  bool letter(Place i) const {
    return i < length && p[i] < 128 && is(p[i], kLetter);
  }

  Place find(Char c, Place from) const {
    while (from < length && p[from] != c) from++;
    return from;
  }

  bool same(Place at, const char* word) const {  // without regard to case
    for (; *word; word++, at++) {
      if (at >= length || p[at] >= 128) return false;
      const int c = static_cast<int>(p[at]);
      if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != *word) return false;
    }
    return true;
  }

  bool name_ends(Place at) const {
    return at >= length || p[at] == '>' || p[at] == '/' || wide_space(p[at]);
  }

  Place behind_comment(Place at) const {
    for (at = find('-', at); at < length; at = find('-', at + 1)) {
      if (at + 2 < length && p[at + 1] == '-' && p[at + 2] == '>') return at + 3;
    }
    return length;
  }

  Place behind_tag(Place at) const {  // quoted values may hold a '>'
    while (at < length && p[at] != '>') {
      if (p[at] == '"' || p[at] == '\'') at = find(p[at], at + 1);
      at++;
    }
    return at < length ? at + 1 : length;
  }

  Place behind_raw(Place at, const char* closing) const {  // before </script or </style
    for (at = find('<', at); at < length; at = find('<', at + 1)) {
      if (same(at, closing) && name_ends(at + static_cast<Place>(strlen(closing)))) return at;
    }
    return length;
  }

  Place behind_markup(Place at) const {  // `at` when the '<' there is only text
    if (same(at, "<!--")) return behind_comment(at + 4);
    if (at + 1 < length && (p[at + 1] == '!' || p[at + 1] == '?')) {
      const Place end = find('>', at);
      return end < length ? end + 1 : length;
    }
    if (letter(at + 1)) {
      const Place end = behind_tag(at + 1);
      if (same(at, "<script") && name_ends(at + 7)) return behind_raw(end, "</script");
      if (same(at, "<style") && name_ends(at + 6)) return behind_raw(end, "</style");
      return end;
    }
    if (at + 1 < length && p[at + 1] == '/' && letter(at + 2)) return behind_tag(at + 2);
    return at;
  }

  Place behind_reference(Place at) const {  // &name; or &#1234; of at most 32 letters
    Place end = at + 1;
    if (end < length && p[end] == '#') end++;
    const Place name = end;
    while (end < length && end - name < 32 && is(p[end], kAlnum)) end++;
    return end > name && end < length && p[end] == ';' ? end + 1 : at + 1;
  }

  Place count() {
    for (Place at = 0; at < length;) {
      const Char c = p[at];
      if (c == '<') {
        const Place behind = behind_markup(at);
        if (behind > at) {
          at = behind;
          continue;
        }
      }
      if (wide_space(c)) {
        gap = true;
        at++;
      } else {
        character();
        at = c == '&' ? behind_reference(at) : at + 1;
      }
    }
    return visible;
  }
};

Place visible_characters(nb::str text) {
  return with_characters(text, [](auto* p, Place length) {
    using Char = std::remove_const_t<std::remove_pointer_t<decltype(p)>>;
    return Html<Char>{p, length}.count();
  });
}

// ---- encoded data ----------------------------------------------------------------------------

constexpr Place kEncodedRun = 60;

// Whether a run has a digit and a letter and at most an eighth of '/': neither a path nor a rule.
template <class Char>
bool mixed(const Char* p, Place start, Place end) {
  Place digits = 0, letters = 0, slashes = 0;
  for (Place i = start; i < end; i++) {
    digits += is(p[i], kDigit);
    letters += is(p[i], kLetter);
    slashes += p[i] == '/';
  }
  return digits > 0 && letters > 0 && slashes * 8 <= end - start;
}

template <class Char>
Place hex_item(const Char* p, Place at, Place length) {  // its end; `at` where there is none
  if (at + 2 >= length) return at;
  const bool zero = p[at] == '0' && (p[at + 1] == 'x' || p[at + 1] == 'X');
  if (!zero && !(p[at] == '\\' && p[at + 1] == 'x')) return at;
  Place end = at + 2;
  while (end < length && is(p[end], kHex)) end++;
  if (end == at + 2 || end - at > 18) return at;
  if (end < length && is(p[end], kWord)) return at;
  while (end < length && (p[end] == ',' || p[end] == ' ' || p[end] == '\t' || p[end] == '\r' ||
                          p[end] == '\n'))
    end++;
  return end;
}

Place encoded_characters(nb::str text) {
  return with_characters(text, [](auto* p, Place length) {
    Place total = 0, run_end = 0;
    for (Place at = 0; at < length;) {
      if (at >= run_end) {
        run_end = at;
        while (run_end < length && is(p[run_end], kBase64)) run_end++;
        if (run_end - at >= kEncodedRun && mixed(p, at, run_end)) {
          while (run_end < length && p[run_end] == '=') run_end++;
          total += run_end - at;
          at = run_end;
          continue;
        }
        if (run_end - at >= kEncodedRun) {
          at = run_end;
          continue;
        }
      }
      const Place end = p[at] == '0' || p[at] == '\\' ? hex_item(p, at, length) : at;
      total += end - at;
      at = end > at ? end : at + 1;
    }
    return total;
  });
}

// ---- places where a secret or personal data may begin ----------------------------------------

// The word, and whether a hexadecimal digit must follow it.
const std::pair<const char*, bool> kPrefixes[] = {
    {"AKIA", false},       {"ASIA", false},       {"AIza", false},
    {"ya29.", false},      {"ghp_", false},       {"gho_", false},
    {"ghu_", false},       {"ghs_", false},       {"ghr_", false},
    {"github_pat_", false}, {"glpat-", false},    {"xoxa-", false},
    {"xoxb-", false},      {"xoxp-", false},      {"xoxr-", false},
    {"xoxs-", false},      {"xapp-", false},      {"sk_live_", false},
    {"rk_live_", false},   {"SK", true},          {"SG.", false},
    {"npm_", false},       {"pypi-", false},      {"sk-", false},
    {"eyJ", false},        {"-----BEGIN ", false}, {"hooks.slack.com/", false},
    {"hf_", false},        {"dop_v1_", true},     {"shpat_", true},
    {"key-", true},        {"EAACEdEose0cBA", false}, {"sq0", false},
    {"AGE-SECRET-KEY-1", false}, {"dckr_pat_", false}, {"rubygems_", true},
    {"lin_api_", false},   {"AccountKey=", false}};

const char* const kKeywords[] = {"password", "passwd", "passphrase", "pwd",   "secret",
                                 "token",    "apikey", "api_key",    "api-key", "access_key",
                                 "accesskey", "auth_key", "private_key", "credential"};

struct Needle {
  const char* word;
  bool keyword;  // in either case, and a value is assigned to it
  bool hex;
};

struct Needles {
  // Which words can begin with a pair of characters: short lists, most of them empty.
  std::array<std::vector<Needle>, 128 * 128> by_pair;
  std::array<uint8_t, 128 * 128> any{};

  void add(int a, int b, Needle needle) {
    by_pair[a * 128 + b].push_back(needle);
    any[a * 128 + b] = 1;
  }

  Needles() {
    for (const auto& [word, hex] : kPrefixes) add(word[0], word[1], {word, false, hex});
    for (const char* word : kKeywords) {
      for (int fold : {0, 32})
        for (int fold2 : {0, 32}) add(word[0] - fold, word[1] - fold2, {word, true, false});
    }
    for (int c = 0; c < 128; c++) {
      const bool digit = c >= '0' && c <= '9';
      if (is(static_cast<uint8_t>(c), kAlnum)) any['@' * 128 + c] = 1;
      for (int d = '0'; d <= '9'; d++)
        if (digit || c == '.') any[d * 128 + c] = 1;
    }
    for (int d : {'2', '3'})
      for (int c = 0; c < 128; c++)
        if (is(static_cast<uint8_t>(c), kHex)) any[d * 128 + c] = 1;
    any[':' * 128 + '/'] = 1;
  }
};

const Needles needles;

template <class Char>
struct Anchors {
  const Char* p;
  Place length;

  Char before(Place at) const { return at > 0 ? p[at - 1] : Char(' '); }

  bool begins(Place at, const char* word, bool folded) const {
    for (; *word; word++, at++) {
      if (at >= length) return false;
      uint32_t c = p[at];
      if (folded && c >= 'A' && c <= 'Z') c += 32;
      if (c != static_cast<uint8_t>(*word)) return false;
    }
    return true;
  }

  bool skip(Place& at, Char a, Char b) const {
    if (at < length && (p[at] == a || p[at] == b)) {
      at++;
      return true;
    }
    return false;
  }

  void skip_blanks(Place& at) const {
    for (int i = 0; i < 8 && at < length && (p[at] == ' ' || p[at] == '\t'); i++) at++;
  }

  // keyword, more of the name, an end of a quoted key, then one of = : => :=, then a value
  bool assigned(Place at) const {
    for (int i = 0; i < 24 && at < length && (is(p[at], kWord) || p[at] == '-'); i++) at++;
    skip(at, '"', '\'');
    skip(at, ']', ')');
    skip_blanks(at);
    if (!skip(at, '=', ':')) return false;
    skip(at, '=', '>');
    skip_blanks(at);
    return quoted(at) || bare(at);
  }

  // six to 256 printable characters between two equal quotes; b"" and the like too
  bool quoted(Place at) const {
    if (at < length && is(p[at], kAlnum) && !is(p[at], kDigit)) at++;
    if (at >= length || (p[at] != '"' && p[at] != '\'' && p[at] != '`')) return false;
    const Char quote = p[at];
    const Place start = ++at;
    while (at < length && at - start <= 256 && p[at] > ' ' && p[at] != quote) at++;
    return at < length && p[at] == quote && at - start >= 6 && at - start <= 256;
  }

  // eight to 256 characters of keys, a digit and a letter among them, up to the end of the line
  bool bare(Place at) const {
    const Place start = at;
    bool digit = false, letter = false;
    while (at < length && at - start <= 256 && (is(p[at], kBase64 | kWord) || bare_sign(p[at]))) {
      digit |= is(p[at], kDigit);
      letter |= is(p[at], kAlnum) && !is(p[at], kDigit);
      at++;
    }
    if (!digit || !letter || at - start < 8 || at - start > 256) return false;
    if (at < length && p[at] == '\r') at++;
    return at >= length || p[at] == '\n';
  }

  static bool bare_sign(Char c) {
    return c < 128 && c > 0 && strchr("-=!@#%^&*~", static_cast<int>(c)) != nullptr;
  }

  bool word(Place at) const {
    for (const Needle& needle : needles.by_pair[p[at] * 128 + p[at + 1]]) {
      if (!begins(at, needle.word, needle.keyword)) continue;
      const Place behind = at + static_cast<Place>(strlen(needle.word));
      if (needle.keyword ? assigned(behind) : starts(at, behind, needle.hex)) return true;
    }
    return false;
  }

  bool starts(Place at, Place behind, bool hex) const {
    return !is(before(at), kAlnum) && (!hex || (behind < length && is(p[behind], kHex)));
  }

  bool mail(Place at) const { return is(before(at), kRunsOn); }

  // "://", a name, ':', a password, '@': at most 256 characters, none of them blank or a quote
  bool login(Place at) const {
    if (!begins(at, "://", false)) return false;
    bool colon = false;
    for (Place i = at + 3; i < length && i < at + 259; i++) {
      const Char c = p[i];
      if (c == '@') return colon;
      if (c <= ' ' || c == '/' || c == '"' || c == '\'' || c == '<' || c == '>') return false;
      if (c == ':') colon = true;
    }
    return false;
  }

  bool four(Place at) const {
    if (is(before(at), kRunsOn) || before(at) == '_') return false;
    for (int part = 0; part < 4; part++) {
      Place digits = 0;
      while (at < length && is(p[at], kDigit) && digits < 4) at++, digits++;
      if (digits < 1 || digits > 3) return false;
      if (part < 3 && !(at < length && p[at++] == '.')) return false;
    }
    if (at < length && is(p[at], kWord)) return false;
    return !(at + 1 < length && p[at] == '.' && is(p[at + 1], kDigit));
  }

  bool six(Place at) const {
    if (is(before(at), kRunsOn) || before(at) == ':' || (p[at] != '2' && p[at] != '3')) return false;
    for (int i = 0; i < 4; i++)
      if (at + i >= length || !is(p[at + i], kHex)) return false;
    return at + 5 < length && p[at + 4] == ':' && (p[at + 5] == ':' || is(p[at + 5], kHex));
  }

  bool found(Place at) const {
    if (p[at] == '@') return mail(at);
    if (p[at] == ':') return login(at);
    if (is(p[at], kDigit)) return four(at) || six(at);
    return word(at);
  }

  std::vector<Place> all() const {
    std::vector<Place> places;
    for (Place at = 0; at + 1 < length; at++) {
      const uint32_t a = p[at], b = p[at + 1];
      if constexpr (sizeof(Char) > 1) {
        if (a >= 128 || b >= 128) continue;
      } else if ((a | b) >= 128) {
        continue;
      }
      if (needles.any[a * 128 + b] && found(at)) places.push_back(at);
    }
    return places;
  }
};

nb::list secret_anchors(nb::str text) {
  const std::vector<Place> places = with_characters(text, [](auto* p, Place length) {
    using Char = std::remove_const_t<std::remove_pointer_t<decltype(p)>>;
    return Anchors<Char>{p, length}.all();
  });
  nb::list list;
  for (Place place : places) list.append(place);
  return list;
}

}  // namespace

void bind_text(nb::module_& m) {
  m.def("text_statistics", &text_statistics, nb::arg("text"),
        "Characters, lines, longest line, characters of all lines, letters, white space.");
  m.def("visible_characters", &visible_characters, nb::arg("text"),
        "Characters of HTML outside markup, scripts and styles, runs of white space as one.");
  m.def("encoded_characters", &encoded_characters, nb::arg("text"),
        "Characters in long runs of base64 and in tables of hexadecimal numbers.");
  m.def("secret_anchors", &secret_anchors, nb::arg("text"),
        "Places where a secret or personal data may begin.");
}
