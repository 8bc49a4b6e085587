#include "pool.h"

#include <chrono>

namespace midfill {

namespace {

constexpr int TASK_BITS = 24;
constexpr uint64_t TASK_MASK = (uint64_t{1} << TASK_BITS) - 1;
constexpr int SPINS = 20000;  // about a tenth of a millisecond

uint64_t generation(uint64_t word) { return word >> (2 * TASK_BITS); }

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Pool& Pool::shared() {
  static Pool* pool = new Pool;  // never destroyed: threads may outlive static destructors
  return *pool;
}

Pool::~Pool() { stop(); }

void Pool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  stopping_ = false;
}

void Pool::resize(int threads) {
  if (threads == this->threads()) return;
  stop();
  for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
}

void Pool::start(int tasks, Call call, void* context) {
  if (workers_.empty() || tasks <= 1) {
    for (int task = 0; task < tasks; task++) call(context, task, 0);
    return;
  }
  call_ = call;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  uint64_t next = generation(word_.load(std::memory_order_relaxed)) + 1;
  word_.store(next << (2 * TASK_BITS) | static_cast<uint64_t>(tasks) << TASK_BITS,
              std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  uint64_t seen = 0;
  while (claim(seen, 0)) {
  }
  for (int spins = 0; done_.load(std::memory_order_acquire) < tasks; spins++) {
    relax();
    if (spins > SPINS) std::this_thread::yield();
  }
}

// Do one task of the current region, if one is left.
bool Pool::claim(uint64_t& seen, int thread) {
  uint64_t word = word_.fetch_add(1, std::memory_order_acq_rel);
  seen = generation(word);
  uint64_t task = word & TASK_MASK, tasks = (word >> TASK_BITS) & TASK_MASK;
  if (task >= tasks) return false;
  call_(context_, static_cast<int>(task), thread);
  done_.fetch_add(1, std::memory_order_acq_rel);
  return true;
}

void Pool::work(int thread) {
  uint64_t seen = generation(word_.load());
  while (!stopping_.load(std::memory_order_relaxed)) {
    int spins = 0;
    while (generation(word_.load(std::memory_order_acquire)) == seen) {
      if (stopping_.load(std::memory_order_relaxed)) return;
      relax();
      if (++spins < SPINS) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.fetch_add(1, std::memory_order_seq_cst);
      wake_.wait(lock, [&] { return stopping_ || generation(word_.load()) != seen; });
      asleep_.fetch_sub(1, std::memory_order_seq_cst);
      spins = 0;
    }
    while (claim(seen, thread)) {
    }
  }
}

}  // namespace midfill
