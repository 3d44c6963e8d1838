// Threads that compute parts of one operator.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

// Threads that wait for work between calls. It is never destroyed: they end
// with the process.
class Pool {
public:
  static Pool &instance() {
    static Pool *pool = new Pool();
    return *pool;
  }

  // With fewer threads where the system gives no more.
  void set_count(int count) {
    std::lock_guard<std::mutex> caller(caller_);
    try {
      for (; threads_ < count - 1; ++threads_)
        std::thread([this] { serve(); }).detach();
    } catch (const std::system_error &) {
    } catch (const std::bad_alloc &) {
    }
    count_ = std::min(count, threads_ + 1);
  }

  // Calls `task` with 0 ... tasks - 1, in any order. A caller that finds the
  // pool busy works alone.
  void run(int64_t tasks, bool is_small,
           const std::function<void(int64_t)> &task) {
    std::unique_lock<std::mutex> caller(caller_, std::try_to_lock);
    if (!caller || count_ < 2 || tasks < 2 || is_small) {
      for (int64_t i = 0; i < tasks; ++i)
        task(i);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      tasks_ = tasks;
      next_.store(0);
      wanted_ = std::min<int64_t>(count_, tasks) - 1;
      busy_ = wanted_;
      ++turn_;
    }
    start_.notify_all();
    work();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

private:
  void work() noexcept {
    for (int64_t i = next_.fetch_add(1); i < tasks_; i = next_.fetch_add(1))
      (*task_)(i);
  }

  void serve() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      start_.wait(lock, [&] { return turn_ != seen && wanted_ > 0; });
      seen = turn_;
      --wanted_;
      lock.unlock();
      work();
      lock.lock();
      if (--busy_ == 0)
        done_.notify_one();
    }
  }

  std::mutex caller_, mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int64_t)> *task_ = nullptr;
  std::atomic<int64_t> next_{0};
  int64_t tasks_ = 0, wanted_ = 0, busy_ = 0;
  uint64_t turn_ = 0;
  int threads_ = 0, count_ = 1;
};
