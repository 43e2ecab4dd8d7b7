/* For benchmarks in which BLAS works: so many threads, and the kernels that the processor deserves. */
#ifndef BENCH_BLAS_H
#define BENCH_BLAS_H

#include <cblas.h>

#include "common.h"

/* Versions of OpenBLAS take a processor that is younger than they are for one of 2004, and use kernels several times
 * slower than those for its nearest relative. */
static inline bool bench_blas_is_lost_(void) {
#if defined(OPENBLAS_VERSION) && defined(__x86_64__) && defined(__GNUC__)
    return strcmp(openblas_get_corename(), "Prescott") == 0 && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
#else
    return false;
#endif
}

/* Starts the program again, once, with what BLAS and OpenMP read from their environment when they are loaded. */
static inline void bench_threads(char **argv, const char *threads) {
    if (getenv("BENCH_THREADS") != NULL) return;
    if (bench_blas_is_lost_() && setenv("OPENBLAS_CORETYPE", "SkylakeX", 0) != 0) return;
    if (setenv("BENCH_THREADS", threads, 1) != 0 || setenv("OPENBLAS_NUM_THREADS", threads, 1) != 0 ||
        setenv("OMP_NUM_THREADS", threads, 1) != 0)
        return;
    execv("/proc/self/exe", argv);
    execvp(argv[0], argv);
}
static inline void bench_one_thread(char **argv) { bench_threads(argv, "1"); }

/* Products alone, of sizes m x k and k x n, so often: operands have room for `count` numbers. */
static float *bench_operands_[3];

static inline void bench_open_products(size_t count) {
    uint64_t state = 9;
    for (int k = 0; k < 3; k++) {
        bench_operands_[k] = (float *)bench_alloc(count, sizeof(float));
        for (size_t i = 0; i < count; i++) bench_operands_[k][i] = (float)bench_random(&state, -1, 1);
    }
}
static inline void bench_product(int m, int n, int k, int times) {
    for (int i = 0; i < times; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, bench_operands_[0], k, bench_operands_[1], n,
                    0, bench_operands_[2], n);
}
static inline void bench_close_products(void) {
    for (int k = 0; k < 3; k++) free(bench_operands_[k]);
}

static inline void bench_print_blas(void) {
#if defined(OPENBLAS_VERSION)
    printf("   BLAS: OpenBLAS, kernels for %s\n", openblas_get_corename());
#endif
}

#endif
