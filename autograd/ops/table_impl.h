/* The f32 scalar functions that table.c lists and table_f32.c defines. */
#ifndef AG_TABLE_IMPL_H
#define AG_TABLE_IMPL_H

#define AG_DECLARE_(name)                                                                                              \
    float ag_value_f32_##name(float x, float y, float z);                                                              \
    void ag_partials_f32_##name(float x, float y, float z, float r, float p[3]);
#define AG_OP1(NAME, name, ...) AG_DECLARE_(name)
#define AG_OP2(NAME, name, ...) AG_DECLARE_(name)
#define AG_OP3(NAME, name, ...) AG_DECLARE_(name)
#include "elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
#undef AG_DECLARE_

#endif
