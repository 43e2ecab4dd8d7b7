/* CSV, record by record. */
#ifndef NN_CSV_IMPL_H
#define NN_CSV_IMPL_H

#include "nn/data/data_impl.h"

typedef struct nn_csv_field {
    char *text; /* with a 0 behind it */
    size_t length;
    int64_t line, column; /* where it begins, both from 1 */
    bool quoted;
} nn_csv_field;

/* Reads a text in place: fields are unquoted, and ended by a 0, where they stand. */
typedef struct nn_csv_reader {
    const char *name;
    char *at, *end, *line_start;
    char separator;
    int64_t line;
    nn_csv_field *fields; /* of the last record */
    int64_t count, room;
} nn_csv_reader;

/* Reads the next record. False at the end of the text and after an error. */
bool nn_csv_record(nn_csv_reader *r, nn_error *e);
bool nn_csv_is_blank(const nn_csv_reader *r); /* an empty line */
/* "name:line:column: ..." */
void nn_csv_fail(const nn_csv_reader *r, const nn_csv_field *at, nn_error *e, const char *format, ...) AG_FORMAT_(4, 5);

/* In the locale "C". A whole text that is a decimal number, "inf" or "infinity", blanks around it. */
bool nn_csv_number(const nn_csv_field *field, double *value);

#endif
