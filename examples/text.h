/* Text for examples: read or made up, as windows of characters in two loaders; and drawn from what a model says. */
#ifndef EXAMPLES_TEXT_H
#define EXAMPLES_TEXT_H

#include "common.h"

enum { SENTENCES = 1500 };

/* Sentences of seven words, of which four are drawn from four: log(4) * 4 nats for some 30 characters. */
static inline nn_array invent_text(nn_error *e) {
    static const char *const words[4][4] = {{"old", "brave", "sleepy", "golden"},
                                            {"king", "owl", "sailor", "moon"},
                                            {"sees", "follows", "forgets", "sings to"},
                                            {"river", "queen", "dog", "stars"}};
    nn_array text = nn_array_new(NN_U8, AG_SHAPE(SENTENCES * 48), e);
    uint64_t state = 1;
    int64_t length = 0;
    for (int i = 0; i < SENTENCES && e->status == AG_OK; i++) {
        const char *word[4];
        for (int k = 0; k < 4; k++) word[k] = words[k][(int)(4 * uniform(&state))];
        length +=
            snprintf((char *)text.data + length, 48, "the %s %s %s the %s.\n", word[0], word[1], word[2], word[3]);
    }
    text.shape.dim[0] = length;
    return text;
}

/* A text, its characters, and windows of so many of them as fields x, and y, those that come one later. */
typedef struct text_windows {
    nn_array text, codes[2];
    nn_vocabulary characters;
    nn_dataset sets[2];
    nn_loader *train, *validation; /* nine parts, and the one at the end */
} text_windows;

static inline void open_text(text_windows *w, const char *path, int64_t length, int64_t every, int64_t batch,
                             nn_error *e) {
    w->text = path != NULL ? nn_text_read(path, e) : invent_text(e);
    size_t bytes = (size_t)nn_array_count(&w->text), first = bytes * 9 / 10;
    w->characters = nn_vocabulary_of(w->text.data, bytes, e);
    w->codes[0] = nn_encode(&w->characters, w->text.data, first, e);
    w->codes[1] = nn_encode(&w->characters, (const char *)w->text.data + first, bytes - first, e);
    for (int k = 0; k < 2; k++) w->sets[k] = nn_dataset_windows(&w->codes[k], length, k == 0 ? every : length, e);
    nn_loader_options options = {.batch = batch, .shuffle = true, .drop_last = true, .seed = 1};
    w->train = nn_loader_new(&w->sets[0], &options, e);
    w->validation = nn_loader_new(&w->sets[1], &(nn_loader_options){.batch = batch}, e);
}

static inline void close_text(text_windows *w) {
    nn_loader_free(w->train);
    nn_loader_free(w->validation);
    for (int k = 0; k < 2; k++) nn_dataset_free(&w->sets[k]), nn_array_free(&w->codes[k]);
    nn_array_free(&w->text);
    nn_vocabulary_free(&w->characters);
}

/* A character by its probability, of logits divided by a temperature. */
static inline int draw_character(const float *logits, int64_t n, double temperature, uint64_t *state) {
    double sum = 0, most = logits[0];
    for (int i = 0; i < n; i++) most = fmax(most, logits[i]);
    for (int i = 0; i < n; i++) sum += exp((logits[i] - most) / temperature);
    double left = uniform(state) * sum;
    for (int i = 0; i < n; i++)
        if ((left -= exp((logits[i] - most) / temperature)) < 0) return i;
    return (int)n - 1;
}

#endif
