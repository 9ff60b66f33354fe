// A batch equals its members, bit by bit: every core function on a vector of numbers gives in each
// lane what it gives for that lane's numbers alone, and a lane that fails leaves the others alone.
#include "core/cholesky.h"
#include "core/lq.h"
#include "core/sums.h"
#include "tests/kalman_pass.h"

namespace {

using namespace statespace;
using namespace statespace::STATESPACE_ISA;
using namespace statespace::STATESPACE_ISA::test;
using namespace statespace::test;

// Compares lane by lane, but for one; `alone` holds what each lane's numbers gave.
template <class T>
void check_same(const std::vector<Vector<T>>& together, const std::vector<std::vector<T>>& alone,
                int left_out = -1) {
  for (int lane = 0; lane < kLanes<Vector<T>>; ++lane) {
    if (lane == left_out) continue;
    CHECK_EQUAL(together.size(), alone[lane].size());
    for (size_t i = 0; i < together.size(); ++i) {
      if (same_bits(T(together[i][lane]), alone[lane][i])) continue;
      say_case(current_case(), "lane", lane, "number", i);
      CHECK_EQUAL(T(together[i][lane]), alone[lane][i]);
      CHECK(!"bits differ");
    }
  }
}

// Calls body(in, out) on `inputs[lane]` side by side and one by one.
template <class T, class Body>
void check_function(const std::vector<std::vector<T>>& inputs, int num_outputs, const Body& body) {
  using V = Vector<T>;
  std::vector<V> in(inputs[0].size()), out(num_outputs);
  std::vector<std::vector<T>> alone;
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    for (size_t i = 0; i < in.size(); ++i) in[i][lane] = inputs[lane][i];
    alone.emplace_back(num_outputs);
    body(static_cast<const T*>(inputs[lane].data()), alone.back().data());
  }
  body(static_cast<const V*>(in.data()), out.data());
  check_same<T>(out, alone);
}

// The same for functions that sum in another order when they work on one matrix: each lane's
// numbers alone are in all lanes. body(in, out, work).
template <class T, class Body>
void check_lanes(const std::vector<std::vector<T>>& inputs, int num_outputs, int64_t work_size,
                 const Body& body) {
  using V = Vector<T>;
  std::vector<V> in(inputs[0].size()), out(num_outputs), work(work_size);
  std::vector<std::vector<T>> alone;
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    for (size_t i = 0; i < in.size(); ++i) in[i] = splat<V>(inputs[lane][i]);
    body(static_cast<const V*>(in.data()), out.data(), work.data());
    alone.emplace_back();
    for (const V& v : out) alone.back().push_back(v[0]);
  }
  for (int lane = 0; lane < kLanes<V>; ++lane) {
    for (size_t i = 0; i < in.size(); ++i) in[i][lane] = inputs[lane][i];
  }
  body(static_cast<const V*>(in.data()), out.data(), work.data());
  check_same<T>(out, alone);
}

// Random numbers for every lane; with `bad`, one lane holds what makes a function fail or nearly
// so.
template <class T>
std::vector<std::vector<T>> random_lanes(Random& random, int count, int bad) {
  using Limits = std::numeric_limits<T>;
  std::vector<std::vector<T>> lanes;
  for (int lane = 0; lane < kLanes<Vector<T>>; ++lane) {
    lanes.push_back(random_matrix(random, 1, count).as<T>());
  }
  std::vector<T>& x = lanes[integer(random, 0, kLanes<Vector<T>> - 1)];
  if (bad == 1) x.assign(count, T(0));
  if (bad == 2) x.assign(count, T(-0.0));
  if (bad == 3 && count > 0) x[integer(random, 0, count - 1)] = Limits::quiet_NaN();
  if (bad == 4 && count > 0) x[integer(random, 0, count - 1)] = -Limits::infinity();
  if (bad == 5) x.assign(count, Limits::denorm_min() * 3);
  if (bad == 6) x.assign(count, Limits::max() / 2);
  return lanes;
}

// Adds to the diagonal of the leading n x n matrix of each lane, so that most have a factor.
template <class T>
std::vector<std::vector<T>> shift_diagonal(std::vector<std::vector<T>> lanes, int n) {
  for (std::vector<T>& x : lanes) {
    for (int i = 0; i < n; ++i) x[i * n + i] += T(n + 1);
  }
  return lanes;
}

template <class T>
void check_factorisations(Random& random, int bad) {
  for (int n = 0; n <= 6; ++n) {
    const auto inputs = random_lanes<T>(random, 2 * n * n, bad);
    say_case("Cholesky", n, "bad", bad);
    const auto factor = [&](auto* in, auto* out) { out[n * n] = cholesky(n, in, out); };
    check_function<T>(inputs, n * n + 1, factor);
    check_function<T>(shift_diagonal(inputs, n), n * n + 1, factor);
    say_case("adjoint of Cholesky", n, "bad", bad);
    check_function<T>(inputs, n * n,
                      [&](auto* in, auto* out) { cholesky_adjoint(n, in, in + n * n, out); });
    for (int bits = 0; bits < 8 && n > 0; ++bits) {
      const TriangularSides sides = {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
      say_case("triangular", n, "bad", bad, "sides", bits);
      const int k = 3;
      const auto systems = random_lanes<T>(random, n * n + 2 * n * k, bad);
      check_function<T>(systems, n * k, [&](auto* in, auto* out) {
        triangular_solve(n, k, sides, in, in + n * n, out);
      });
      check_function<T>(systems, n * n + n * k, [&](auto* in, auto* out) {
        triangular_solve_adjoint(n, k, sides, in, in + n * n, in + n * n + n * k, out, out + n * n);
      });
    }
  }
}

template <class T>
void check_lq(Random& random, int bad) {
  for (int m = 0; m <= 20; m += m < 4 ? 1 : 8) {
    for (int n = 0; n <= 20; n += n < 4 ? 1 : 8) {
      say_case("LQ", m, n, "bad", bad);
      const int k = std::min(m, n), size = m * n, factors = m * k + k * n;
      check_lanes<T>(
          random_lanes<T>(random, size, bad), factors, lq_work_size(true, m, n),
          [&](auto* in, auto* out, auto* work) { lq<true>(k, m, n, in, out, out + m * k, work); });
      check_lanes<T>(random_lanes<T>(random, 2 * factors, bad), size, lq_adjoint_work_size(m, n),
                     [&](auto* in, auto* out, auto* work) {
                       lq_adjoint(k, m, n, in, in + m * k, in + factors, in + factors + m * k, out,
                                  work);
                     });
      check_lanes<T>(random_lanes<T>(random, size + m * k, bad), size, lq_l_adjoint_work_size(m, n),
                     [&](auto* in, auto* out, auto* work) {
                       lq_l_adjoint(k, m, n, in, in + size, out, work);
                     });
    }
  }
}

template <class T>
void check_sums(Random& random, int bad) {
  say_case("sums, bad", bad);
  check_function<T>(random_lanes<T>(random, 50, bad), 2, [](auto* in, auto* out) {
    using V = std::decay_t<decltype(*out)>;
    CompensatedSum<V> sum;
    LogProduct<V> product;
    for (int i = 0; i < 50; ++i) {
      sum.add(in[i]);
      product.multiply(absolute(in[i]));
    }
    out[0] = sum.value();
    out[1] = product.log();
  });
}

// Everything that filter, adjoint and smoother compute, one after the other.
template <class V, class N, class M>
std::vector<V> all_results(const Lanes& lanes, N n, M m) {
  std::vector<V> out;
  const auto add = [&out](const V* x, int count) { out.insert(out.end(), x, x + count); };
  const std::vector<PassStep<V>> steps = filter_pass<V>(lanes, n, m);
  std::vector<double> weights;
  for (const PassStep<V>& step : steps) {
    weights.push_back(1 + 0.25 * static_cast<double>(weights.size()));
    const KalmanUpdate<V>& x = step.update;
    out.push_back(select<V>(x.ok, splat<V>(1), V()));
    add(step.a.data(), n), add(step.p.data(), n * n), add(x.a, n), add(x.p, n * n);
    add(x.v, m), add(x.z, m), add(x.w, m * n), add(x.observed, m), add(x.inverse, m);
    for (int i = 0; i < m; ++i) add(x.s + i * m, i + 1), add(x.l + i * m, i + 1);
  }
  const PassGradient<V> gradient = adjoint_pass<V>(lanes, steps, weights, n, m);
  for (const auto& input : gradient.by_step) {
    for (const std::vector<V>& x : input) add(x.data(), static_cast<int>(x.size()));
  }
  add(gradient.mean.data(), n), add(gradient.covariance.data(), n * n);
  const PassSmoothed<V> smoothed = smoother_pass<V>(steps, n, m);
  for (size_t t = 0; t < steps.size(); ++t) {
    add(smoothed.mean[t].data(), n);
    add(smoothed.covariance[t].data(), n * n), add(smoothed.lag_one[t].data(), n * n);
  }
  return out;
}

// The means of filter and smoother, from covariances of the first lane that serve all lanes.
template <class T, class N, class M>
std::vector<Vector<T>> means_by_shared_covariances(const Lanes& lanes, N n, M m) {
  using V = Vector<T>;
  std::vector<V> out;
  const auto add = [&out](const std::vector<V>& x) { out.insert(out.end(), x.begin(), x.end()); };
  const std::vector<PassStep<T>> shared = filter_pass<T>({lanes[0]}, n, m);
  const int num_steps = lanes[0].steps();
  const std::vector<V> of_state(n), of_data(m);
  std::vector<std::vector<V>> filtered(num_steps, of_state), z(num_steps, of_data);
  std::vector<V> v(m), r(n), mean(n), work(smooth_mean_work_size(n, m));
  std::vector<V> a = pack<V>(lanes, [](const KalmanCase& x) -> const Matrix& { return x.mean; });
  for (int t = 0; t < num_steps; ++t) {
    const PassStep<V> own = load_step<V>(lanes, t, n, m);  // for y, b and d
    const PassStep<T>& step = shared[t];
    const Mask<V> ok =
        kalman_update_mean<V>(n, m, weights(step.update), Pattern(), step.model.h, own.model.d,
                              own.y.data(), a.data(), v.data(), z[t].data(), filtered[t].data());
    out.push_back(select<V>(ok, splat<V>(1), V()));
    add(a), add(v), add(z[t]), add(filtered[t]);
    kalman_predict_mean<V>(n, step.model.f_transpose, own.model.b, filtered[t].data(), a.data());
  }
  for (int t = num_steps - 1; t >= 0; --t) {
    const PassStep<T>& step = shared[t];
    smooth_mean<V>(n, m, weights(step.update), step.model.f, step.model.h, step.update.p,
                   filtered[t].data(), z[t].data(), r.data(), mean.data(), work.data());
    add(mean), add(r);
  }
  return out;
}

// The same of one series that computes its own covariances.
template <class T>
std::vector<T> means_alone(const KalmanCase& x) {
  const int n = x.n, m = x.m;
  std::vector<T> out;
  const auto add = [&out](const T* y, int count) { out.insert(out.end(), y, y + count); };
  const std::vector<PassStep<T>> steps = filter_pass<T>({x}, n, m);
  for (const PassStep<T>& step : steps) {
    out.push_back(step.update.ok ? T(1) : T(0));
    add(step.a.data(), n), add(step.update.v, m), add(step.update.z, m), add(step.update.a, n);
  }
  std::vector<T> r(n), mean(n), cov(n * n), covariance(n * n);
  for (size_t t = steps.size(); t-- > 0;) {
    std::vector<T> work(kalman_smoother_work_size(n, m));
    const SmoothedMoments<T> moments = {mean.data(), covariance.data(), nullptr};
    kalman_smooth(n, m, steps[t].model, steps[t].update, steps[t].p.data(), r.data(), cov.data(),
                  moments, work.data());
    add(mean.data(), n), add(r.data(), n);
  }
  return out;
}

template <class T>
void check_shared_covariances(Random& random, bool one_fails) {
  for (int n = 1; n <= 5; ++n) {
    for (int m = 1; m <= 3; ++m) {
      say_case("shared covariances", n, m, "one fails", one_fails);
      Lanes lanes = {random_case(random, n, m, 4, 0.3)};
      std::vector<std::vector<T>> alone;
      for (int lane = 0; lane < kLanes<Vector<T>>; ++lane) {
        if (lane > 0) lanes.push_back(lanes[0]);
        KalmanCase& x = lanes[lane];
        x.mean = random_matrix(random, n, 1);
        for (int t = 0; t < x.steps(); ++t) {
          x.y[t] = x.y[t] + random_matrix(random, m, 1);  // what is missing stays so
          x.b[t] = random_matrix(random, n, 1), x.d[t] = random_matrix(random, m, 1);
        }
        if (one_fails && lane == 1) x.b[0](0, 0) = std::numeric_limits<float>::infinity();
        alone.push_back(means_alone<T>(x));
      }
      check_same<T>(means_by_shared_covariances<T>(lanes, n, m), alone);
      if (n == 3 && m == 2) {
        check_same<T>(means_by_shared_covariances<T>(lanes, Fixed<3>(), Fixed<2>()), alone);
      }
    }
  }
}

template <class T>
void check_kalman(Random& random, bool one_fails, bool sparse) {
  using V = Vector<T>;
  for (int n = 1; n <= 5; ++n) {
    for (int m = 1; m <= 3; ++m) {
      say_case("Kalman", n, m, "one fails", one_fails, "sparse", sparse);
      Lanes lanes;
      for (int lane = 0; lane < kLanes<V>; ++lane) {
        lanes.push_back(random_case(random, n, m, 4, lane % 2 == 0 ? 0 : 0.4));
      }
      if (sparse) make_sparse(random, lanes);
      if (one_fails) lanes[1].c[1] = Matrix(m, m + 1), lanes[1].h[1] = Matrix(m, n);
      std::vector<std::vector<T>> alone;
      for (const KalmanCase& x : lanes) alone.push_back(all_results<T>({x}, n, m));
      const std::vector<V> together = all_results<V>(lanes, n, m);
      // Which zeros meet the NaN of the one that failed depends on its neighbours.
      const int left_out = one_fails && sparse ? 1 : -1;
      check_same<T>(together, alone, left_out);
      if (n == 3 && m == 2) {
        check_same<T>(all_results<V>(lanes, Fixed<3>(), Fixed<2>()), alone, left_out);
      }
    }
  }
}

template <class T>
void check_all() {
  Random random(1);
  for (int bad = 0; bad <= 6; ++bad) {
    for (int repeat = 0; repeat < 5; ++repeat) {
      check_factorisations<T>(random, bad);
      check_lq<T>(random, bad);
      check_sums<T>(random, bad);
    }
  }
  for (const bool one_fails : {false, true}) {
    for (const bool sparse : {false, true}) check_kalman<T>(random, one_fails, sparse);
    check_shared_covariances<T>(random, one_fails);
  }
}

}  // namespace

int main() {
  if (processor_lacks_instructions()) return kSkipped;
  check_all<float>();
  check_all<double>();
}
