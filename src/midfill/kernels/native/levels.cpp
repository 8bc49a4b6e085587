// Which instruction set to use: the best one the processor has, or a lower one that was asked for.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#ifdef HAVE_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"

namespace midfill {

namespace scalar { extern const Kernels table; }
#ifdef HAVE_AVX2
namespace avx2 { extern const Kernels table; }
namespace avx512 { extern const Kernels table; }
namespace avx512bf16 { extern const Kernels table; }
#endif
#ifdef HAVE_AMX
namespace amx { extern const Kernels table; }
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

#ifdef HAVE_AMX
// The processor has the instructions, and the kernel lets this process use them.
bool has_amx() {
  unsigned a, b, c, d;
  if (!has_avx512bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned TILE = 1u << 24, INT8 = 1u << 25, BF16 = 1u << 22;
  constexpr long ASK_FOR_STATE = 0x1023, TILE_DATA = 18;  // arch_prctl: ARCH_REQ_XCOMP_PERM
  return (d & TILE) && (d & INT8) && (d & BF16) && syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}
#endif

const Level LEVELS[] = {
#ifdef HAVE_AMX
    {&amx::table, has_amx},
#endif
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
