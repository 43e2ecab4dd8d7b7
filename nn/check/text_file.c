#include "nn/check/text_file.h"

#include "nn/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 16, SMALL = 1 << 20, ENOUGH = AC_MAX_BYTES + 1 };

/* Bytes that are surely enough for a plain file, with a '\0' behind it; 0: unknown. */
static size_t room_for(FILE *in) {
    struct stat s;
    bool plain = fstat(fileno(in), &s) == 0 && S_ISREG(s.st_mode) && s.st_size > 0 && s.st_size <= AC_MAX_BYTES;
    return plain ? (size_t)s.st_size + 1 : 0;
}

static bool make_room(ac_text_file *t, size_t size, size_t room) {
    char *memory = nn_allocate(room, 1);
    if (memory != NULL && size > 0) memcpy(memory, t->memory, size);
    nn_release(t->memory);
    t->memory = memory;
    if (memory == NULL) t->why = "out of memory";
    return memory != NULL;
}

/* Up to `most` bytes into memory, and a '\0' behind them. Returns how many there are. */
static size_t read_to_memory(ac_text_file *t, FILE *in, size_t most) {
    size_t size = 0, room = room_for(in);
    if (room == 0 || room > most) room = CHUNK;
    if (!make_room(t, 0, room)) return 0;
    while (size < most) {
        if (size == room - 1) {
            if (!make_room(t, size, 2 * room)) return 0;
            room *= 2;
        }
        size_t want = room - 1 - size, got = fread(t->memory + size, 1, want < most - size ? want : most - size, in);
        size += got;
        if (got == 0) break;
    }
    if (ferror(in)) t->why = strerror(errno);
    t->memory[size] = '\0';
    return size;
}

/* What was read, and the rest of `in`, to another file; false if that cannot be. */
static bool copy(const char *start, size_t *size, FILE *in, FILE *out) {
    char chunk[CHUNK];
    bool fine = fwrite(start, 1, *size, out) == *size;
    while (fine && *size < ENOUGH) {
        size_t got = fread(chunk, 1, sizeof chunk, in);
        if (got == 0) break;
        fine = fwrite(chunk, 1, got, out) == got;
        *size += got;
    }
    return fine && !ferror(in) && fputc('\0', out) == 0 && fflush(out) == 0;
}

/* Puts a mapped copy of the whole in the place of its start, of `size` bytes. */
static bool map(ac_text_file *t, size_t *size, FILE *in) {
    FILE *out = tmpfile();
    void *mapping = MAP_FAILED;
    if (out == NULL) return false;
    if (copy(t->memory, size, in, out)) mapping = mmap(NULL, *size + 1, PROT_READ, MAP_PRIVATE, fileno(out), 0);
    fclose(out);
    if (mapping == MAP_FAILED) return false;
    nn_release(t->memory);
    t->memory = mapping;
    t->mapped = *size + 1;
    return true;
}

static void was_read(void *context, size_t bytes) {
    ac_text_file *t = context;
    t->read += bytes;
    if (t->read < SMALL) return;
    t->read = 0;
    (void)madvise(t->memory, t->mapped, MADV_DONTNEED); /* pages come back from the file if they are read again */
}

/* Without a place for a copy, and from the start again if possible, all of it goes to memory. */
static size_t read_all(ac_text_file *t, FILE *in) {
    size_t size = read_to_memory(t, in, SMALL);
    if (t->why != NULL || size < SMALL || map(t, &size, in)) return size;
    if (fseek(in, 0, SEEK_SET) == 0) return read_to_memory(t, in, ENOUGH);
    t->why = "there is no room for a temporary copy";
    return 0;
}

void ac_text_file_open(ac_text_file *t, const char *name) {
    bool standard = strcmp(name, "-") == 0;
    FILE *in = standard ? stdin : fopen(name, "rb");
    memset(t, 0, sizeof *t);
    t->source.name = standard ? "<stdin>" : name;
    if (in == NULL) t->why = strerror(errno);
    else t->source.size = read_all(t, in);
    t->source.text = t->memory;
    if (t->mapped > 0) {
        t->source.was_read = was_read;
        t->source.context = t;
    }
    if (in != NULL && !standard) fclose(in);
}

void ac_text_file_close(ac_text_file *t) {
    if (t->mapped > 0) munmap(t->memory, t->mapped);
    else nn_release(t->memory);
}
