/* error.h - how every library function of tandem reports failure.
 *
 * A function that can fail returns int: 0 (TANDEM_OK) or one of the negative
 * codes below. The message is set once, at the lowest level that knows what
 * went wrong, and names the file, line or byte, what was expected and what was
 * found. Messages are kept per thread. Only cli/ prints them.
 */
#ifndef TANDEM_ERROR_H
#define TANDEM_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* A code of its own exists only where a caller branches on it. */
enum {
    TANDEM_OK = 0,
    TANDEM_ERROR = -1,       /* anything that has no code of its own */
    TANDEM_NOT_FOUND = -2,   /* a file or entry that may legitimately be absent */
    TANDEM_INTERRUPTED = -3, /* SIGINT or SIGTERM was seen; state was saved; exit 130 */
    TANDEM_USAGE = -4        /* the user's command line or config is wrong; exit 2 */
};

#if defined(__GNUC__)
#define TANDEM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define TANDEM_PRINTF(fmt, args)
#endif

/* Sets this thread's message and returns TANDEM_ERROR, so that a caller can
 * write `return tandem_error("%s:%zu: expected ...", path, line)`. */
int tandem_error(const char *format, ...) TANDEM_PRINTF(1, 2);

/* The same with another code of the enum above. */
int tandem_error_code(int code, const char *format, ...) TANDEM_PRINTF(2, 3);

/* Puts "context: " before the present message, for a caller that knows where
 * the failure happened and not only what; returns `code` unchanged. */
int tandem_error_context(int code, const char *format, ...) TANDEM_PRINTF(2, 3);

/* The message of the last failure on this thread; never NULL. Borrowed: valid
 * until the next failure on this thread. */
const char *tandem_error_message(void);

/* Forwards a failure of `expression` to the caller; for functions that hold
 * nothing that needs freeing. Use TANDEM_TRY_GOTO where they do. */
#define TANDEM_TRY(expression)                  \
    do {                                        \
        int tandem_try_rc_ = (expression);      \
        if (tandem_try_rc_ < 0) {               \
            return tandem_try_rc_;              \
        }                                       \
    } while (0)

/* Assigns the code to `rc` and jumps to `label` on failure: one clean-up
 * label a function. */
#define TANDEM_TRY_GOTO(rc, label, expression)  \
    do {                                        \
        (rc) = (expression);                    \
        if ((rc) < 0) {                         \
            goto label;                         \
        }                                       \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
