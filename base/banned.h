/* banned.h - included before every C file of tandem: functions that are easy to
 * misuse become compile errors (the idea is git's banned.h). */
#ifndef TANDEM_BASE_BANNED_H
#define TANDEM_BASE_BANNED_H

/* Their declarations come first, so that poisoning does not break the headers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ctime is missing here because hdf5.h has a field of that name. */
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gets asctime gmtime localtime atoi atol atof

#endif
