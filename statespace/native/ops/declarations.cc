#include "ops/declarations.h"

namespace statespace {

// The model as every Kalman op takes it, in the order of statespace.ssm.PARAMETERS.
#define STATESPACE_MODEL                                                          \
  "y[T,m] transition_matrix[T?,n,n] transition_scale[T?,n,k] "                    \
  "observation_matrix[T?,m,n] observation_scale[T?,m,r] transition_offset[T?,n] " \
  "observation_offset[T?,m] initial_mean[n] initial_scale[n,p]"

#define STATESPACE_MODEL_GRADIENT                                                          \
  "y_bar=y transition_matrix_bar=transition_matrix transition_scale_bar=transition_scale " \
  "observation_matrix_bar=observation_matrix observation_scale_bar=observation_scale "     \
  "transition_offset_bar=transition_offset observation_offset_bar=observation_offset "     \
  "initial_mean_bar=initial_mean initial_scale_bar=initial_scale"
#define STATESPACE_FILTERED                                                             \
  "log_likelihood[] filtered_mean[T,n] filtered_covariance[T,n,n] predicted_mean[T,n] " \
  "predicted_covariance[T,n,n] innovation[T,m] innovation_covariance[T,m,m] info[]:int32"
#define STATESPACE_MARGINALS "log_likelihood[] smoothed_mean[T,n] smoothed_covariance[T,n,n] "
#define STATESPACE_SMOOTHED STATESPACE_MARGINALS "lag_one_covariance[T-1,n,n] info[]:int32"

const OpDeclaration kDeclarations[] = {
    {"StatespaceCholesky", "a[n,n]", "l[n,n] info[]:int32", "", ""},
    {"StatespaceCholeskyGrad", "l[n,n] l_bar[n,n]", "a_bar[n,n]", "", ""},
    {"StatespaceCholeskyInverse", "l[n,n]", "x[n,n]", "", ""},
    {"StatespaceCholeskyInverseGrad", "l[n,n] x[n,n] x_bar[n,n]", "l_bar[n,n]", "", ""},
    {"StatespaceCholeskySolve", "l[n,n] b[n,k]", "x[n,k]", "", ""},
    {"StatespaceCholeskySolveGrad", "l[n,n] x[n,k] x_bar[n,k]", "l_bar[n,n] b_bar[n,k]", "", ""},
    {"StatespacePsdCholesky", "a[n,n]", "l[n,n] info[]:int32", "", ""},
    {"StatespacePsdCholeskyGrad", "l[n,n] l_bar[n,n]", "a_bar[n,n]", "", ""},
    // Triangular matrices.
    {"StatespaceTriangularSolve", "l[n,n] b[n,k]", "x[n,k]", "lower adjoint", ""},
    {"StatespaceTriangularSolveGrad", "l[n,n] x[n,k] x_bar[n,k]", "l_bar[n,n] b_bar[n,k]",
     "lower adjoint", ""},
    {"StatespaceTriangularSolveRight", "l[n,n] b[k,n]", "x[k,n]", "lower adjoint", ""},
    {"StatespaceTriangularSolveRightGrad", "l[n,n] x[k,n] x_bar[k,n]", "l_bar[n,n] b_bar[k,n]",
     "lower adjoint", ""},
    {"StatespaceTriangularMultiply", "l[n,n] b[n,k]", "x[n,k]", "lower adjoint", ""},
    {"StatespaceTriangularMultiplyGrad", "l[n,n] b[n,k] x_bar[n,k]", "l_bar[n,n] b_bar[n,k]",
     "lower adjoint", ""},
    {"StatespaceTriangularMultiplyRight", "l[n,n] b[k,n]", "x[k,n]", "lower adjoint", ""},
    {"StatespaceTriangularMultiplyRightGrad", "l[n,n] b[k,n] x_bar[k,n]", "l_bar[n,n] b_bar[k,n]",
     "lower adjoint", ""},
    // LQ.
    {"StatespaceLq", "a[m,n]", "l[m,k] q[k,n]", "", "k=min(m,n)"},
    {"StatespaceLqGrad", "l[m,k] q[k,n] l_bar[m,k] q_bar[k,n]", "a_bar[m,n]", "", "k=min(m,n)"},
    {"StatespaceLqL", "a[m,n]", "l[m,k]", "", "k=min(m,n)"},
    {"StatespaceLqLGrad", "a[m,n] l_bar[m,k]", "a_bar[m,n]", "", "k=min(m,n)"},
    // Symmetric eigenvalue problems.
    {"StatespaceEigh", "a[n,n]", "eigenvalues[n] eigenvectors[n,n] info[]:int32", "", ""},
    {"StatespaceEighGrad",
     "eigenvalues[n] eigenvectors[n,n] eigenvalues_bar[n] eigenvectors_bar[n,n]", "a_bar[n,n]", "",
     ""},
    // The gradient takes A for the sake of its own gradient alone.
    {"StatespaceMatrixFunction", "a[n,n] exponent[]",
     "x[n,n] info[]:int32 eigenvalues[n] eigenvectors[n,n]", "logarithm exponential", ""},
    {"StatespaceMatrixFunctionGrad",
     "a[n,n] exponent[] eigenvalues[n] eigenvectors[n,n] x_bar[n,n]", "a_bar[n,n]",
     "logarithm exponential", ""},
    // General square matrices.
    {"StatespaceInverse", "a[n,n]", "x[n,n] info[]:int32", "", ""},
    {"StatespaceInverseGrad", "x[n,n] x_bar[n,n]", "a_bar[n,n]", "", ""},
    {"StatespaceDeterminant", "a[n,n]", "determinant[]", "", ""},
    {"StatespaceDeterminantGrad", "a[n,n] determinant_bar[]", "a_bar[n,n]", "", ""},
    {"StatespaceLogDeterminant", "a[n,n]", "sign[] log_abs_determinant[]", "", ""},
    {"StatespaceLogDeterminantGrad", "a[n,n] log_abs_determinant_bar[]", "a_bar[n,n]", "", ""},
    // Diagonals.
    {"StatespaceSumLog", "x[n]", "total[]", "", ""},
    {"StatespaceSumLogGrad", "x[n] total_bar[]", "x_bar[n]", "", ""},
    // Products.
    {"StatespaceGemm", "a[m,k] b[k,n]", "x[m,n]", "cotangent_a cotangent_b", ""},
    {"StatespaceGemmNt", "a[m,k] b[n,k]", "x[m,n]", "cotangent_a cotangent_b", ""},
    {"StatespaceGemmTn", "a[k,m] b[k,n]", "x[m,n]", "cotangent_a cotangent_b", ""},
    {"StatespaceGemmTt", "a[k,m] b[n,k]", "x[m,n]", "cotangent_a cotangent_b", ""},
    {"StatespaceSyrk", "a[m,k]", "x[m,m]", "", ""},
    {"StatespaceSyrkGrad", "a[m,k] x_bar[m,m]", "a_bar[m,k]", "", ""},
    {"StatespaceSyrkTn", "a[k,m]", "x[m,m]", "", ""},
    {"StatespaceSyrkTnGrad", "a[k,m] x_bar[m,m]", "a_bar[k,m]", "", ""},
    // Kalman filters. low_memory is for the gradient: it keeps O(sqrt(T)) numbers a series,
    // as it does anyway of long ones. constant_matrices: the cotangents of the transition and the
    // observation matrix are not wanted; they are zero.
    {"StatespaceKalmanLogLikelihood", STATESPACE_MODEL, "log_likelihood[] info[]:int32",
     "low_memory", ""},
    {"StatespaceKalmanLogLikelihoodPerStep", STATESPACE_MODEL, "log_likelihood[T] info[]:int32",
     "low_memory", ""},
    {"StatespaceKalmanLogLikelihoodGrad", "weights[T?] " STATESPACE_MODEL,
     STATESPACE_MODEL_GRADIENT, "low_memory constant_matrices", ""},
    {"StatespaceKalmanFilter", STATESPACE_MODEL, STATESPACE_FILTERED, "", ""},
    {"StatespaceKalmanSmoother", STATESPACE_MODEL, STATESPACE_SMOOTHED, "", ""},
    // Without lag-one covariances, which are half of the work.
    {"StatespaceKalmanSmootherMarginals", STATESPACE_MODEL, STATESPACE_MARGINALS "info[]:int32", "",
     ""},
    {"StatespaceKalmanFilterGrad",
     "log_likelihood_bar[] filtered_mean_bar[T,n] filtered_covariance_bar[T,n,n] "
     "predicted_mean_bar[T,n] predicted_covariance_bar[T,n,n] innovation_bar[T,m] "
     "innovation_covariance_bar[T,m,m] " STATESPACE_MODEL,
     STATESPACE_MODEL_GRADIENT, "", ""},
    // The lag-one covariances' cotangents have one step more than they, which counts for nothing.
    {"StatespaceKalmanSmootherGrad",
     "log_likelihood_bar[] smoothed_mean_bar[T,n] smoothed_covariance_bar[T,n,n] "
     "lag_one_covariance_bar[T,n,n] " STATESPACE_MODEL,
     STATESPACE_MODEL_GRADIENT, "", ""},
    // The same in univariate form; diffuse is 1 for the states with an exact diffuse start, else 0.
    {"StatespaceKalmanUnivariateLogLikelihood", STATESPACE_MODEL " diffuse[n]",
     "log_likelihood[] info[]:int32 diffuse_observations[]:int32", "low_memory", ""},
    {"StatespaceKalmanUnivariateLogLikelihoodPerStep", STATESPACE_MODEL " diffuse[n]",
     "log_likelihood[T] info[]:int32 diffuse_observations[T]:int32", "low_memory", ""},
    {"StatespaceKalmanUnivariateLogLikelihoodGrad", "weights[T?] " STATESPACE_MODEL " diffuse[n]",
     STATESPACE_MODEL_GRADIENT, "low_memory constant_matrices", ""},
    {"StatespaceKalmanUnivariateFilter", STATESPACE_MODEL " diffuse[n]",
     STATESPACE_FILTERED " diffuse_observations[]:int32", "", ""},
    {"StatespaceKalmanUnivariateSmoother", STATESPACE_MODEL " diffuse[n]",
     STATESPACE_SMOOTHED " diffuse_observations[]:int32", "", ""},
    {"StatespaceKalmanSquareRootLogLikelihood", STATESPACE_MODEL, "log_likelihood[] info[]:int32",
     "low_memory", ""},
    {"StatespaceKalmanSquareRootLogLikelihoodPerStep", STATESPACE_MODEL,
     "log_likelihood[T] info[]:int32", "low_memory", ""},
    {"StatespaceKalmanSquareRootLogLikelihoodGrad", "weights[T?] " STATESPACE_MODEL,
     STATESPACE_MODEL_GRADIENT, "low_memory constant_matrices", ""},
    {"StatespaceKalmanSquareRootFilter", STATESPACE_MODEL,
     STATESPACE_FILTERED " filtered_scale[T,n,n] predicted_scale[T,n,n] innovation_scale[T,m,m]",
     "", ""},
    {"StatespaceKalmanSquareRootSmoother", STATESPACE_MODEL, STATESPACE_SMOOTHED, "", ""},
};

const int kNumDeclarations = sizeof kDeclarations / sizeof kDeclarations[0];

}  // namespace statespace
