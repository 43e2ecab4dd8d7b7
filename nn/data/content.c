/* Whole files in memory, and what gzip and zip hold, expanded by zlib. */
#include "nn/data/data_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

void nn_content_free(nn_content *content) {
    nn_release(content->bytes);
    *content = (nn_content){0};
}

/* Room for `size` bytes, the 0 behind them and what is there already. */
static bool resize(nn_content *content, size_t size, const char *name, nn_error *e) {
    uint8_t *more = size < SIZE_MAX ? nn_take(size + 1, 1, name, e) : NULL;
    if (more == NULL) return false;
    if (content->size > 0) memcpy(more, content->bytes, content->size);
    nn_release(content->bytes);
    content->bytes = more;
    return true;
}

static size_t doubled(size_t size) { return size < SIZE_MAX / 2 ? 2 * size : SIZE_MAX; }

/* ---- files ---- */

static void read_all(int file, size_t expected, const char *path, nn_content *content, nn_error *e) {
    size_t room = expected + 1;
    if (!resize(content, room, path, e)) return;
    for (;;) {
        ssize_t n = read(file, content->bytes + content->size, room - content->size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) nn_fail(e, AG_ERR_FILE, "%.200s: cannot be read: %s", path, strerror(errno));
        if (n <= 0) break;
        content->size += (size_t)n;
        if (content->size == room && !resize(content, room = doubled(room), path, e)) break;
    }
    content->bytes[content->size] = 0;
}

nn_content nn_content_read(const char *path, nn_error *e) {
    nn_content content = {0};
    struct stat status;
    if (!nn_given(path, "the path of a file to be read", e)) return content;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0) {
        nn_fail(e, AG_ERR_FILE, "%.200s: cannot be opened: %s", path, strerror(errno));
    } else {
        read_all(file, S_ISREG(status.st_mode) && status.st_size > 0 ? (size_t)status.st_size : 4096, path, &content,
                 e);
        if (nn_ok(e) && nn_is_gzip(content.bytes, content.size)) {
            nn_content expanded = nn_gunzip(path, content.bytes, content.size, e);
            nn_content_free(&content);
            content = expanded;
        }
    }
    if (file >= 0) (void)close(file);
    if (!nn_ok(e)) nn_content_free(&content);
    return content;
}

/* ---- zlib ---- */

static void *take(void *unused, uInt count, uInt size) {
    (void)unused;
    return nn_allocate(count, size);
}

static void give_back(void *unused, void *memory) {
    (void)unused;
    nn_release(memory);
}

/* The most that one call of zlib takes. */
static uInt portion(size_t size) { return size < 1u << 30 ? (uInt)size : 1u << 30; }

static bool begin(z_stream *z, int window_bits, const char *name, nn_error *e) {
    *z = (z_stream){.zalloc = take, .zfree = give_back};
    if (inflateInit2(z, window_bits) == Z_OK) return true;
    nn_fail(e, AG_ERR_MEMORY, "%.200s: out of memory to expand it", name);
    return false;
}

static void fail_zlib(const z_stream *z, int code, size_t at, const char *name, nn_error *e) {
    if (code == Z_MEM_ERROR) nn_fail(e, AG_ERR_MEMORY, "%.200s: out of memory to expand it", name);
    else if (code == Z_BUF_ERROR)
        nn_fail(e, AG_ERR_VALUE, "%.200s: byte %zu: compressed data ends too early", name, at);
    else
        nn_fail(e, AG_ERR_VALUE, "%.200s: byte %zu: compressed data is damaged: %s", name, at,
                z->msg != NULL ? z->msg : "wrong data");
}

/* Expands until a stream's end, growing up to `most` bytes. Returns the bytes of input that it took. */
static size_t expand(z_stream *z, const char *name, const uint8_t *bytes, size_t size, size_t *room, size_t most,
                     nn_content *to, nn_error *e) {
    size_t used = 0;
    int code = Z_OK;
    while (code != Z_STREAM_END && nn_ok(e)) {
        if (to->size == *room && *room < most) {
            *room = doubled(*room) < most ? doubled(*room) : most;
            if (!resize(to, *room, name, e)) break;
        }
        uInt in = portion(size - used), out = portion(*room - to->size);
        uint8_t overflow; /* with no room left, only the end may come */
        z->next_in = bytes + used;
        z->avail_in = in;
        z->next_out = out > 0 ? to->bytes + to->size : &overflow;
        z->avail_out = out > 0 ? out : 1;
        code = inflate(z, Z_NO_FLUSH);
        used += in - z->avail_in;
        if (out > 0) to->size += out - z->avail_out;
        else if (z->avail_out == 0) {
            nn_fail(e, AG_ERR_VALUE, "%.200s: compressed data is longer than the %zu bytes that it may be", name, most);
            break;
        }
        if (code != Z_OK && code != Z_STREAM_END) fail_zlib(z, code, used, name, e);
    }
    return used;
}

bool nn_is_gzip(const uint8_t *bytes, size_t size) { return size >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

enum { TIMES = 1032 }; /* deflate's best: 258 bytes by 2 bits */

/* What a gzip file can expand to. */
static size_t most_of(size_t size) { return size < SIZE_MAX / TIMES ? TIMES * size : SIZE_MAX - 1; }

nn_content nn_gunzip(const char *name, const uint8_t *bytes, size_t size, nn_error *e) {
    nn_content content = {0};
    z_stream z;
    size_t room = size < SIZE_MAX / 8 ? 4 * size + 64 : size, at = 0;
    if (!nn_ok(e) || !begin(&z, 15 + 16, name, e)) return content;
    if (resize(&content, room, name, e))
        do { /* a file may hold several streams, one behind the other, padded by zeros */
            at += expand(&z, name, bytes + at, size - at, &room, most_of(size), &content, e);
            (void)inflateReset(&z);
            while (at < size && bytes[at] == 0) at++;
        } while (nn_ok(e) && nn_is_gzip(bytes + at, size - at));
    (void)inflateEnd(&z);
    if (nn_ok(e) && at < size)
        nn_fail(e, AG_ERR_VALUE, "%.200s: byte %zu: something else follows the compressed data", name, at);
    if (!nn_ok(e)) nn_content_free(&content);
    else content.bytes[content.size] = 0;
    return content;
}

nn_content nn_inflate(const char *name, const uint8_t *bytes, size_t size, size_t want, nn_error *e) {
    nn_content content = {0};
    z_stream z;
    if (!nn_ok(e) || !begin(&z, -15, name, e)) return content;
    size_t room = want / TIMES <= size ? want : 0; /* a wrong promise takes no memory */
    if (room < want) nn_fail(e, AG_ERR_VALUE, "%.200s: %zu bytes cannot come out of %zu", name, want, size);
    else if (resize(&content, room, name, e)) (void)expand(&z, name, bytes, size, &room, want, &content, e);
    (void)inflateEnd(&z);
    if (nn_ok(e) && content.size != want)
        nn_fail(e, AG_ERR_VALUE, "%.200s: compressed data has %zu bytes, not %zu", name, content.size, want);
    if (!nn_ok(e)) nn_content_free(&content);
    return content;
}
