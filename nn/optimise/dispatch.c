/* The kernels of the instruction set that autograd chose. */
#include "kernels_impl.h"

#include <stdatomic.h>

const nn_kernels *nn_kernels_for(ag_type type) {
    static const struct {
        const char *isa;
        const nn_kernels *kernels[2];
    } levels[] = {
#ifdef AG_HAVE_V4
        {"v4", {[AG_F64] = &nn_kernels_f64_v4, [AG_F32] = &nn_kernels_f32_v4}},
#endif
#ifdef AG_HAVE_V3
        {"v3", {[AG_F64] = &nn_kernels_f64_v3, [AG_F32] = &nn_kernels_f32_v3}},
#endif
        {"base", {[AG_F64] = &nn_kernels_f64_base, [AG_F32] = &nn_kernels_f32_base}},
    };
    static atomic_int found; /* a level + 1; threads that get here first at the same time find the same */
    int i = atomic_load_explicit(&found, memory_order_relaxed) - 1;
    if (i < 0) {
        i = 0;
        while (i + 1 < (int)(sizeof levels / sizeof *levels) && strcmp(levels[i].isa, ag_isa()) != 0) i++;
        atomic_store_explicit(&found, i + 1, memory_order_relaxed);
    }
    return levels[i].kernels[type];
}
