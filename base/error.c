/* error.c - the message of the last failure, one a thread. */
#include "tandem/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Long enough for two paths and a sentence; longer messages are cut. */
enum { MESSAGE_SIZE = 4096 };

static _Thread_local char message[MESSAGE_SIZE];

/* Formats aside first: an argument may be the present message. */
static void set_message(const char *format, va_list arguments)
{
    char text[MESSAGE_SIZE];
    if (vsnprintf(text, sizeof text, format, arguments) < 0) {
        text[0] = '\0';
    }
    memcpy(message, text, strlen(text) + 1);
}

/* As much of `text` as fits. */
static void append(const char *text)
{
    size_t used = strlen(message), room = sizeof message - 1 - used, length = strlen(text);
    length = length < room ? length : room;
    memcpy(message + used, text, length);
    message[used + length] = '\0';
}

int tandem_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_message(format, arguments);
    va_end(arguments);
    return TANDEM_ERROR;
}

int tandem_error_code(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_message(format, arguments);
    va_end(arguments);
    return code;
}

int tandem_error_context(int code, const char *format, ...)
{
    char what[MESSAGE_SIZE];
    memcpy(what, message, sizeof what);
    va_list arguments;
    va_start(arguments, format);
    set_message(format, arguments);
    va_end(arguments);
    append(": ");
    append(what);
    return code;
}

const char *tandem_error_message(void)
{
    return message;
}
