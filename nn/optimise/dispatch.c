/* The kernels of the instruction set that autograd chose. */
#include "kernels_impl.h"

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
    const char *isa = ag_isa();
    size_t i = 0;
    while (i + 1 < sizeof levels / sizeof *levels && strcmp(levels[i].isa, isa) != 0) i++;
    return levels[i].kernels[type];
}
