// The thread pool: every index once, nothing lost when things go wrong.
#include "ops/thread_pool.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace {

using namespace statespace;
using namespace statespace::test;

constexpr double kDear = 1e9;    // nanoseconds an item: worth all threads
constexpr double kCheap = 1e-3;  // worth one

// Calls body(begin, end) over ranges of 0 ... count.
template <class Body>
void loop(int64_t count, double cost, const Body& body) {
  parallel_for(
      count, cost,
      [](const void* context, int64_t begin, int64_t end) {
        (*static_cast<const Body*>(context))(begin, end);
      },
      &body);
}

// Runs a loop and checks that it went over every index once.
void check_covered(int64_t count, double cost) {
  const std::unique_ptr<std::atomic<int>[]> visits(new std::atomic<int>[count]());
  loop(count, cost, [&](int64_t begin, int64_t end) {
    CHECK(0 <= begin && begin < end && end <= count);
    for (int64_t i = begin; i < end; ++i) ++visits[i];
  });
  for (int64_t i = 0; i < count; ++i) CHECK_EQUAL(visits[i].load(), 1);
}

void check_coverage() {
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    CHECK_EQUAL(num_threads(), threads);
    for (const int64_t count : {0, 1, 2, 3, 7, 31, 32, 33, 1000, 4097}) {
      for (const double cost : {kCheap, kDear}) {
        say_case("coverage", threads, count, cost);
        for (int repeat = 0; repeat < 20; ++repeat) check_covered(count, cost);
      }
    }
  }
  say_case("a negative count");
  loop(-1, kDear, [](int64_t, int64_t) { CHECK(!"called"); });
}

void check_sizes() {
  say_case("pool sizes");
  set_num_threads(0);  // as many as there are processors
  CHECK(num_threads() >= 1);
  set_num_threads(-3);
  CHECK(num_threads() >= 1);
  check_covered(100, kDear);
  // Not worth sharing, or only one thread wanted: the caller does all, in one piece.
  for (const int threads : {1, 4}) {
    set_num_threads(threads);
    int calls = 0;
    loop(1000, threads == 1 ? kDear : kCheap, [&](int64_t begin, int64_t end) {
      CHECK(begin == 0 && end == 1000);
      ++calls;
    });
    CHECK_EQUAL(calls, 1);
  }
}

// All four threads take part: each waits in the loop until the others have come.
void check_shared() {
  say_case("all threads take part");
  set_num_threads(4);
  std::atomic<int> here{0};
  loop(4, kDear, [&](int64_t, int64_t) {
    ++here;
    while (here < 4) std::this_thread::yield();
  });
  CHECK_EQUAL(here.load(), 4);
}

void check_exceptions() {
  set_num_threads(4);
  for (int64_t bad = 0; bad < 40; ++bad) {
    say_case("exception", bad);
    std::atomic<int> done{0};
    std::string caught;
    try {
      loop(40, kDear, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          if (i == bad) throw std::runtime_error("bad item");
        }
        ++done;
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    CHECK_EQUAL(caught, "bad item");
    CHECK(done > 0);  // the other ranges went on
    check_covered(40, kDear);
  }
}

void check_nested() {
  say_case("nested loops");
  set_num_threads(4);
  std::atomic<int> visits{0};
  loop(50, kDear, [&](int64_t begin, int64_t end) {
    const std::thread::id outer = std::this_thread::get_id();
    for (int64_t i = begin; i < end; ++i) {
      loop(20, kDear, [&](int64_t from, int64_t to) {
        CHECK(std::this_thread::get_id() == outer);  // on the same thread
        CHECK(from == 0 && to == 20);                // in one piece
        visits += 20;
      });
    }
  });
  CHECK_EQUAL(visits.load(), 1000);
}

void check_concurrent_callers() {
  say_case("concurrent callers");
  set_num_threads(3);
  std::vector<std::thread> callers;
  for (int i = 0; i < 6; ++i) {
    callers.emplace_back([i] {
      for (int repeat = 0; repeat < 200; ++repeat) {
        check_covered(1 + (repeat * 7 + i) % 90, kDear);
        if (i == 0) set_num_threads(2 + repeat % 3);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

#if !defined(__SANITIZE_THREAD__)  // it forbids threads in a child of a process with threads
// Runs body in a forked child and checks that it came through.
template <class Body>
void check_in_child(const Body& body) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(30);  // a child that hangs fails
    body();
    _exit(0);
  }
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void check_fork() {
  set_num_threads(4);
  check_covered(100, kDear);
  say_case("fork");
  check_in_child([] {
    for (int repeat = 0; repeat < 20; ++repeat) check_covered(100, kDear);
    check_in_child([] { check_covered(100, kDear); });
  });
  check_covered(100, kDear);

  say_case("fork while another thread uses the pool");
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) check_covered(100, kDear);
  });
  for (int repeat = 0; repeat < 20; ++repeat) check_in_child([] { check_covered(100, kDear); });
  stop = true;
  busy.join();
}

// Where the system gives no more threads, the caller does the work alone.
void check_no_threads_left() {
  say_case("no threads left");
  check_in_child([] {
    const rlimit none = {0, 0};
    if (getuid() == 0 && setuid(65534) != 0) return;  // the limit does not bind the superuser
    if (setrlimit(RLIMIT_NPROC, &none) != 0) return;
    try {
      std::thread([] {}).join();
      return;  // a system without such a limit
    } catch (const std::system_error&) {
    }
    set_num_threads(4);
    check_covered(100, kDear);
  });
}
#endif

void check_scratch() {
  const auto aligned = [](void* data) { return reinterpret_cast<uintptr_t>(data) % 64 == 0; };
  for (const size_t size : {1, 64, 1000, 100, 1 << 20, 80 << 20, 1 << 20, 8}) {
    say_case("scratch", size);
    char* const data = static_cast<char*>(scratch(size));
    CHECK(aligned(data));
    data[0] = data[size - 1] = 1;
  }
  say_case("scratch of another thread");
  void* const mine = scratch(100);
  std::thread([mine] { CHECK(scratch(100) != mine); }).join();
}

}  // namespace

int main() {
  check_coverage();
  check_sizes();
  check_shared();
  check_exceptions();
  check_nested();
  check_concurrent_callers();
  check_scratch();
#if !defined(__SANITIZE_THREAD__)
  check_fork();
  check_no_threads_left();
#endif
}
