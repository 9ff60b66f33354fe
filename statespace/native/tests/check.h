// What every C++ test is made of: checks that say where and with which numbers they failed, and the
// random numbers they run on.
#ifndef STATESPACE_NATIVE_TESTS_CHECK_H_
#define STATESPACE_NATIVE_TESTS_CHECK_H_

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <random>
#include <sstream>
#include <string>

namespace statespace {
namespace test {

// Says which of many cases is running; printed with a failure.
inline std::string& current_case() {
  static std::string text;
  return text;
}
template <class... Parts>
inline void say_case(const Parts&... parts) {
  std::ostringstream out;
  ((out << parts << ' '), ...);
  current_case() = out.str();
}

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  std::cerr << file << ':' << line << ": " << what;
  if (!current_case().empty()) std::cerr << "; case: " << current_case();
  std::cerr << std::endl;
  std::abort();
}

template <class A, class B>
inline void check_equal(const A& actual, const B& expected, const char* text, const char* file,
                        int line) {
  if (actual == expected) return;
  std::ostringstream out;
  out << text << ": got " << actual << ", expected " << expected;
  fail(file, line, out.str());
}

// |actual - expected| <= tolerance * max(1, |expected|); a NaN matches a NaN alone.
inline void check_near(long double actual, long double expected, long double tolerance,
                       const char* text, const char* file, int line) {
  if (std::isnan(actual) && std::isnan(expected)) return;
  if (std::abs(actual - expected) <= tolerance * std::max(1.0L, std::abs(expected))) return;
  std::ostringstream out;
  out.precision(20);
  out << text << ": got " << actual << ", expected " << expected << ", off by "
      << actual - expected;
  fail(file, line, out.str());
}

#define CHECK(condition) \
  ((condition) ? void() : statespace::test::fail(__FILE__, __LINE__, #condition " is false"))
#define CHECK_EQUAL(actual, expected) \
  statespace::test::check_equal(actual, expected, #actual, __FILE__, __LINE__)
#define CHECK_NEAR(actual, expected, tolerance) \
  statespace::test::check_near(actual, expected, tolerance, #actual, __FILE__, __LINE__)

// The same number, bit by bit; but any NaN equals any other, since compilers swap the operands of a
// sum, which decides whose payload survives.
template <class T>
inline bool same_bits(const T& a, const T& b) {
  if (a != a || b != b) return a != a && b != b;
  return std::memcmp(&a, &b, sizeof a) == 0;
}

using Random = std::mt19937_64;

inline double normal(Random& random) { return std::normal_distribution<double>()(random); }

// An integer from low ... high.
inline int integer(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// Tests compiled for an instruction set that this processor lacks end with this status, which ctest
// reports as skipped.
constexpr int kSkipped = 77;

inline bool processor_lacks_instructions() {
#if defined(__AVX512F__)
  return !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
         !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl");
#elif defined(__AVX2__)
  return !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma");
#else
  return false;
#endif
}

}  // namespace test
}  // namespace statespace

#endif  // STATESPACE_NATIVE_TESTS_CHECK_H_
