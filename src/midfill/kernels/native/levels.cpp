// Which instruction set to use: the best one the processor has, or a lower one that was asked for.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels.h"

namespace midfill {

namespace scalar { extern const Kernels table; }
#ifdef HAVE_AVX2
namespace avx2 { extern const Kernels table; }
namespace avx512 { extern const Kernels table; }
namespace avx512bf16 { extern const Kernels table; }
#endif

namespace {

struct Level {
  const Kernels* table;
  bool (*usable)();
};

#ifdef HAVE_AVX2
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
bool has_avx512bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

const Level LEVELS[] = {
#ifdef HAVE_AVX2
    {&avx512bf16::table, has_avx512bf16},
    {&avx512::table, has_avx512},
    {&avx2::table, has_avx2},
#endif
    {&scalar::table, [] { return true; }},
};

const Kernels* current = nullptr;

}  // namespace

#ifdef HAVE_AVX2
const bool beside_caches = [] {
  __builtin_cpu_init();
  return __builtin_cpu_is("amd") != 0;
}();
#else
const bool beside_caches = false;
#endif

const char* set_level(const char* name) {
  for (const Level& level : LEVELS) {
    if (name != nullptr && std::strcmp(name, level.table->name) != 0) continue;
    if (!level.usable()) {
      if (name == nullptr) continue;
      throw std::invalid_argument(std::string("this processor lacks the level ") + name);
    }
    current = level.table;
    return current->name;
  }
  throw std::invalid_argument(std::string("no such level: ") + name);
}

const Kernels& kernels() {
  if (current == nullptr) set_level(nullptr);
  return *current;
}

}  // namespace midfill
