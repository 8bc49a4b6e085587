// A few threads that share the work of one region at a time. They spin briefly between regions and
// sleep between steps. Work is handed out piece by piece, so that a thread whose core another
// process took holds nobody up for longer than one piece.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace midfill {

class Pool {
 public:
  static Pool& shared();
  ~Pool();

  // Held by whoever calls run or resize, or changes the level: they take turns, a whole step each.
  std::mutex turn;

  void resize(int threads);
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(task, thread) for every task below `tasks`; returns when all are done.
  template <class Fn>
  void run(int tasks, Fn&& fn) {
    using Plain = std::remove_reference_t<Fn>;
    start(tasks, [](void* context, int task, int thread) {
      (*static_cast<Plain*>(context))(task, thread);
    }, const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Call = void (*)(void*, int, int);
  void start(int tasks, Call call, void* context);
  void work(int thread);
  bool claim(uint64_t& seen, int thread);
  void stop();

  // Generation, number of tasks and next task in one word: a late thread can claim nothing stale.
  std::atomic<uint64_t> word_{0};
  std::atomic<int> done_{0};
  std::atomic<int> asleep_{0};
  std::atomic<bool> stopping_{false};
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

}  // namespace midfill
