/* Which of the compiled kernels this machine can run. The build defines AG_HAVE_V3 and AG_HAVE_V4 where it compiled
 * them. */
#include "kernels_impl.h"
#include <stdatomic.h>
#include <stdlib.h>

/* Highest level first. */
enum { LEVEL_V4, LEVEL_V3, LEVEL_BASE, LEVELS };
static const char *const level_names[LEVELS] = {"v4", "v3", "base"};
static const ag_kernels *const level_kernels[LEVELS][2] = {
#ifdef AG_HAVE_V4
    [LEVEL_V4] = {[AG_F64] = &ag_kernels_f64_v4, [AG_F32] = &ag_kernels_f32_v4},
#endif
#ifdef AG_HAVE_V3
    [LEVEL_V3] = {[AG_F64] = &ag_kernels_f64_v3, [AG_F32] = &ag_kernels_f32_v3},
#endif
    [LEVEL_BASE] = {[AG_F64] = &ag_kernels_f64_base, [AG_F32] = &ag_kernels_f32_base},
};

/* The compiler's functions ask for the operating system's consent to wide registers, too. clang 14 does not know movbe
 * and lzcnt here; every processor with AVX2, FMA and BMI2 has them. */
static bool machine_has(int level) {
#if defined(__GNUC__) && defined(__x86_64__)
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return level == LEVEL_V4 ? v4 : level == LEVEL_V3 ? v3 : true;
#else
    return level == LEVEL_BASE;
#endif
}

static int find_level(void) {
    const char *wanted = getenv("AG_ISA");
    int level = 0;
    if (wanted != NULL)
        for (int i = 0; i < LEVELS; i++)
            if (strcmp(wanted, level_names[i]) == 0) level = i;
    while (level < LEVEL_BASE && (level_kernels[level][AG_F64] == NULL || !machine_has(level))) level++;
    return level;
}

const ag_kernels *ag_kernels_for(ag_type type) {
    static atomic_int found; /* level + 1; threads that get here first at the same time find the same */
    int level = atomic_load_explicit(&found, memory_order_relaxed) - 1;
    if (level < 0) {
        level = find_level();
        atomic_store_explicit(&found, level + 1, memory_order_relaxed);
    }
    return level_kernels[level][type];
}

const char *ag_isa(void) { return ag_kernels_for(AG_F64)->isa; }
