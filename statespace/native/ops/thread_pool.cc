#include "ops/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace statespace {
namespace {

// Below this a second thread costs more than it saves.
constexpr double kWorthSharing = 50e3;  // nanoseconds
// How long a thread that has worked looks for more before it sleeps. To wake it takes as long as
// many a call does, and in a training loop the next one comes soon.
constexpr std::chrono::microseconds kLookForWork{300};

unsigned floating_point_mode() {
#if defined(__SSE__)
  return _mm_getcsr();
#else
  return 0;
#endif
}
void set_floating_point_mode(unsigned mode) {
#if defined(__SSE__)
  _mm_setcsr(mode);
#else
  (void)mode;
#endif
}

// Waits until done() or kLookForWork has passed, leaving the core to whoever else wants it.
template <class Done>
void look_for(Done&& done) {
  const auto end = std::chrono::steady_clock::now() + kLookForWork;
  while (!done() && std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 32 && !done(); ++i) {
#if defined(__SSE__)
      _mm_pause();
#endif
    }
    std::this_thread::yield();
  }
}

thread_local bool in_pool_thread = false;

struct Scratch {
  void* data = nullptr;
  size_t size = 0;
  ~Scratch() { std::free(data); }
};
thread_local Scratch thread_scratch;

// Gives unusually much scratch memory back as soon as the work is done.
void trim_scratch() {
  constexpr size_t kKeep = size_t{64} << 20;
  if (thread_scratch.size <= kKeep) return;
  std::free(thread_scratch.data);
  thread_scratch = {};
}

// One loop at a time; its ranges are handed out in order.
struct Loop {
  int64_t count;
  int64_t grain;
  RangeFunction function;
  const void* context;
  unsigned mode;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;

  void work() {
    for (int64_t begin; (begin = next.fetch_add(grain)) < count;) {
      try {
        function(context, begin, std::min(begin + grain, count));
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!error) error = std::current_exception();
      }
    }
    trim_scratch();
  }
};

class Pool {
 public:
  void run(Loop& loop, int num_workers) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      try {
        for (; num_threads_ < num_workers; ++num_threads_) {
          std::thread([this] { serve(); }).detach();
        }
      } catch (const std::system_error&) {
        // The system gives no more threads: those there are do the work.
      }
      loop_ = &loop;
      vacancies_ = num_workers;
    }
    wake_.notify_all();
    loop.work();
    // All ranges are taken by now: wait for the workers that have one, not for those still asleep.
    std::unique_lock<std::mutex> lock(mutex_);
    vacancies_ = 0;
    lock.unlock();
    look_for([this] { return active_ == 0; });
    lock.lock();
    done_.wait(lock, [this] { return active_ == 0; });
  }

 private:
  void serve() {
    in_pool_thread = true;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return vacancies_ > 0; });
      --vacancies_;
      ++active_;
      Loop& loop = *loop_;
      lock.unlock();
      set_floating_point_mode(loop.mode);
      loop.work();
      lock.lock();
      if (--active_ == 0) done_.notify_one();
      lock.unlock();
      look_for([this] { return vacancies_ > 0; });
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Loop* loop_ = nullptr;
  int num_threads_ = 0;
  std::atomic<int> vacancies_{0}, active_{0};  // changed under the mutex alone
};

std::atomic<int> pool_size{0};
std::mutex pool_in_use;
// Never destroyed: its threads outlive static destructors. After a fork the child has none of them
// and starts anew.
Pool* pool = nullptr;

void forget_pool_after_fork() {
  pool = nullptr;
  new (&pool_in_use) std::mutex;
}

void run_shared(Loop& loop, int num_workers) {
  if (pool == nullptr) {
    static const int registered = pthread_atfork(nullptr, nullptr, forget_pool_after_fork);
    (void)registered;
    pool = new Pool;
  }
  pool->run(loop, num_workers);
}

}  // namespace

int num_threads() {
  const int size = pool_size.load();
  return size > 0 ? size : std::max(1u, std::thread::hardware_concurrency());
}

void set_num_threads(int count) { pool_size.store(count); }

void parallel_for(int64_t count, double cost, RangeFunction function, const void* context) {
  if (count <= 0) return;
  const double total = cost * static_cast<double>(count);
  const int threads = static_cast<int>(std::min<double>(
      std::min<double>(num_threads(), static_cast<double>(count)), total / kWorthSharing));
  std::unique_lock<std::mutex> lock(pool_in_use, std::defer_lock);
  if (threads < 2 || in_pool_thread || !lock.try_lock()) {
    function(context, 0, count);
    if (!in_pool_thread) trim_scratch();
    return;
  }
  Loop loop;
  loop.count = count;
  // Several ranges a thread, to even out what the threads get.
  loop.grain = std::max<int64_t>(1, count / (4 * threads));
  loop.function = function;
  loop.context = context;
  loop.mode = floating_point_mode();
  run_shared(loop, threads - 1);
  if (loop.error) std::rethrow_exception(loop.error);
}

void* scratch(size_t bytes) {
  constexpr size_t kAlignment = 64;
  if (bytes > thread_scratch.size) {
    std::free(thread_scratch.data);
    thread_scratch.size = 0;
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    thread_scratch.data = std::aligned_alloc(kAlignment, bytes);
    if (thread_scratch.data == nullptr) throw std::bad_alloc();
    thread_scratch.size = bytes;
  }
  return thread_scratch.data;
}

}  // namespace statespace
