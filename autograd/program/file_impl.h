/* Programs in files. Everything is little-endian.
 *
 *   file       "\x89" "agprog\n", u32 version, program, u64 checksum (FNV-1a of all bytes before it)
 *   program    u8 type (0: f64, 1: f32)
 *              u32 n, n views: u8 rank (1 to 8), i64 offset, for each axis i64 dim, i64 stride
 *              u32 n, n operations: u8 kind, string name
 *              u32 n, n instructions
 *              u32 n, n outputs: string name, operand
 *   instruction  u32 what: 0 input, 1 constant, 2 + k operation k
 *              u32 where: the shape of the result, as in an operand
 *              input      string name
 *              constant   f64 for each element
 *              operation  u32 n, n operands; then
 *                         KIND_CALL   u32 size, parameters
 *                         KIND_MAP    i64 rows, u32 n, n bytes: for each input and output 0 each, 1 shared; inner
 *                         KIND_SCAN   i64 steps, u32 states, u8 backward, u32 n, n bytes: for each input as above;
 *                                     inner, u8 whether it is one that gives its states, if so the inner without them
 *                         KIND_ROOT   u8 fixed point, f64 tolerance, u32 steps, inner: a step, inner: the residual
 *                         KIND_GUARD  u8 expected, string name of the comparison or "", string name
 *   inner      u32 k: the k-th of the inner programs that have ended before here, or 2^32 - 1 and then a program
 *   operand    u32 value, u32 where: 0x80000000 | offset of an element, or the number of a view
 *   string     u16 length, bytes other than 0
 *
 * Parameters of built-in operations are integers of one size; those of the user's own are bytes as they are in memory.
 * Version 1 has the kinds up to KIND_MAP, whose inner program stands there without a number. */
#ifndef AG_FILE_IMPL_H
#define AG_FILE_IMPL_H

#include "../ops/builtin_impl.h"
#include "program_impl.h"

enum { FILE_VERSION = 2, FILE_MAGIC_SIZE = 8, DEEPEST_FILE = 64 };
#define FILE_NEW_PROGRAM UINT32_MAX
#define FILE_MAGIC                                                                                                     \
    "\x89"                                                                                                             \
    "agprog\n"
enum { WHAT_INPUT, WHAT_CONSTANT, WHAT_OPERATION };
enum { KIND_ELEMENTWISE, KIND_CALL, KIND_MAP, KIND_SCAN, KIND_ROOT, KIND_GUARD, KINDS };

typedef struct ag_builtin {
    const ag_operation *const *operation;
    uint32_t least, most, unit;
} ag_builtin;
/* The row of a built-in operation; NULL if there is none of that name (or it is not that operation). */
const ag_builtin *ag_builtin_named(const char *name);
const ag_builtin *ag_builtin_of(const ag_operation *operation);
/* Between memory and file: integers of a builtin's parameters, from byte `from` on, little-endian in the file. */
void ag_builtin_swap(const ag_builtin *b, void *params, size_t size, size_t from);
/* Of the kinds behind KIND_CALL: their operation, and the kind of an operation. */
const ag_operation *ag_kind_operation(uint8_t kind);
uint8_t ag_operation_kind(const ag_operation *operation);
/* ag_program_load_bytes with all memory from `memory`. */
ag_program *ag_file_load(const void *bytes, size_t size, const ag_operation *const *own, int n,
                         const ag_memory *memory);
uint64_t ag_file_checksum(uint64_t hash, const void *bytes, size_t n);
#define FILE_CHECKSUM_START UINT64_C(0xCBF29CE484222325)

#endif
