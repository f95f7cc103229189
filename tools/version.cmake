# Writes version.h, run at every build by the target version_header. The file is touched only when its text changes, so an
# unchanged commit recompiles nothing. Takes SOURCE_DIR, VERSION, OUT.
set(commit "unknown")
find_program(GIT git)
if(GIT)
    execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" describe --always --tags --dirty --abbrev=12
        OUTPUT_VARIABLE said OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE rc)
    if(rc EQUAL 0 AND NOT said STREQUAL "")
        set(commit "${said}")
    endif()
endif()
set(text "/* Written by tools/version.cmake. */
#ifndef VERSION_H
#define VERSION_H
#define FATUNE_VERSION \"${VERSION}\"
#define FATUNE_COMMIT \"${commit}\"
#endif
")
set(old "")
if(EXISTS "${OUT}")
    file(READ "${OUT}" old)
endif()
if(NOT old STREQUAL text)
    file(WRITE "${OUT}" "${text}")
endif()
