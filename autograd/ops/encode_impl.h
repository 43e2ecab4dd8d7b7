/* Bytes of x86-64 instructions, as both kinds of native code need them: native.c and native_rows.c. */
#ifndef AG_ENCODE_IMPL_H
#define AG_ENCODE_IMPL_H

#include "native_impl.h"

/* Constants at the begin of a block of code, 16 bytes each, which instructions reach by their distance. */
enum { AG_BITS_BEFORE, AG_BITS_SIGN, AG_BITS_MAGNITUDE, AG_BITS_ONE, AG_BITS_END };

typedef enum ag_prefix { AG_NO_PREFIX, AG_PREFIX_66, AG_PREFIX_F3, AG_PREFIX_F2 } ag_prefix;
typedef enum ag_opcode_map { AG_MAP_0F = 1, AG_MAP_0F38, AG_MAP_0F3A } ag_opcode_map;

/* Opcodes of arithmetic in map 0F, by the prefix of single or packed numbers. */
enum {
    AG_X_ADD = 0x58,
    AG_X_MULTIPLY = 0x59,
    AG_X_SUBTRACT = 0x5c,
    AG_X_DIVIDE = 0x5e,
    AG_X_ROOT = 0x51,
    AG_X_COMPARE = 0xc2,
    AG_X_AND = 0x54,
    AG_X_OR = 0x56,
    AG_X_XOR = 0x57,
    AG_X_LOAD = 0x10,
    AG_X_STORE = 0x11,
    AG_X_MOVE = 0x28,
    AG_X_TEST = 0x2e
};
/* Fused ones in map 0F38, of packed numbers: the result takes the place of the first factor, whose other one is the last
 * operand (132), or the middle one (213), or that of what is added (231). */
enum { AG_X_FUSED_132 = 0x98, AG_X_FUSED_213 = 0xa8, AG_X_FUSED_231 = 0xb8, AG_X_OF_ONE = 1, AG_X_NEGATED = 4 };
/* How a comparison compares; NaN makes the last two true. */
enum {
    AG_X_EQUAL = 0,
    AG_X_UNORDERED = 3,
    AG_X_LESS = 17,
    AG_X_NO_MORE = 18,
    AG_X_AT_LEAST = 29,
    AG_X_MORE = 30,
    AG_X_NOT_EQUAL = 4,
    AG_X_NOT_NO_MORE = 22
};

static inline void ag_put(unsigned char **at, unsigned byte) { *(*at)++ = (unsigned char)byte; }
static inline void ag_put_bytes(unsigned char **at, uint64_t value, int count) {
    for (int i = 0; i < count; i++) ag_put(at, (unsigned)(value >> (8 * i)) & 0xff);
}

/* endbr64, push rbx; at the end pop rbx, ret. */
static inline void ag_put_begin(unsigned char **at) { ag_put_bytes(at, 0x53fa1e0ff3, 5); }
static inline void ag_put_end(unsigned char **at) { ag_put_bytes(at, 0xc35b, 2); }

/* function(code, count, what rdx has been set to). */
static inline void ag_put_kernel_call(unsigned char **at, const void *function, const ag_straight *code,
                                      uint32_t count) {
    ag_put_bytes(at, 0xbf48, 2); /* mov rdi */
    ag_put_bytes(at, (uintptr_t)code, 8);
    ag_put(at, 0xbe); /* mov esi */
    ag_put_bytes(at, count, 4);
    ag_put_bytes(at, 0xb848, 2); /* mov rax */
    ag_put_bytes(at, (uintptr_t)function, 8);
    ag_put_bytes(at, 0xd0ff, 2); /* call rax */
}

static inline size_t ag_whole_16(size_t bytes) { return (bytes + 15) / 16 * 16; }

#endif
