/*
 * What travels between a monitor and its clients: on attach.sock, and on the socketpair of whoever launched it.
 * src/native/frames.ts is the other half; a test compares the two.
 *
 * A frame is a header of 8 bytes and a payload. The header is that of Docker's multiplexed attach stream (type, three
 * zeros, payload length in big-endian), so the output frames can be handed through to a Docker client as they are.
 * All numbers are big-endian.
 *
 *     client                         monitor
 *       ATTACH, RESIZE           ->                    may be sent before the container runs
 *       STDIN, STDIN_END, RESIZE ->
 *       PORTS                    ->
 *                                 <- ANSWERED           to that client alone
 *                                 <- STARTED            first; or FAILED and then the end
 *                                 <- STDOUT, STDERR     as they come
 *                                 <- EXITED             last
 */
#ifndef TR_FRAMES_H
#define TR_FRAMES_H

enum tr_frame {
    TR_FRAME_STDIN = 0,
    TR_FRAME_STDOUT = 1,
    TR_FRAME_STDERR = 2,

    TR_FRAME_STDIN_END = 16, /* the client's stdin is at its end; what that means is the container's stdinOnce */
    TR_FRAME_RESIZE = 17,    /* u16 rows, u16 columns */
    TR_FRAME_ATTACH = 18,    /* give me the output; who does not ask only hears of the start and of the exit */

    TR_FRAME_PORTS = 19,     /* the published ports have changed: see ports.c */

    TR_FRAME_STARTED = 32, /* u32 pid, u64 start time (field 22 of /proc/<pid>/stat) */
    TR_FRAME_FAILED = 33,  /* u8 phase (tr_phase), i32 op index or -1, i32 errno */
    TR_FRAME_EXITED = 34,  /* i32 exit code, i32 signal, u8 oomKilled, i64 seconds, u32 nanoseconds since the epoch */
    TR_FRAME_ANSWERED = 35, /* i32 errno or 0, u32 the line that it is about */
};

#define TR_FRAME_HEADER 8
#define TR_FRAME_STARTED_SIZE 12
#define TR_FRAME_FAILED_SIZE 9
#define TR_FRAME_EXITED_SIZE 21
#define TR_FRAME_ANSWERED_SIZE 8

#endif
