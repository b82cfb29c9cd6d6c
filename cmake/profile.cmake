# What runs often and what never does, as the bench's workloads count it: a release build lays its code out after it, so that a request
# finds it in the instruction cache. `scripts/bench profile` makes the file anew. It may be old: a function that changed since is built as
# if nothing were known of it. Without the file, or llvm-profdata to read it, the build works, and is slower.
set(FOURWAYS_PROFILE "use" CACHE STRING "use, generate (a gateway that counts, for `scripts/bench profile`) or off")
set(profile "${PROJECT_SOURCE_DIR}/cmake/fourways.proftext")

# A function of one file is known by the file's name, not by its path on this machine.
set(profile_flags "SHELL:-mllvm -static-func-full-module-prefix=false")
if(FOURWAYS_PROFILE STREQUAL "generate")
    set(counts "-fprofile-generate=${CMAKE_BINARY_DIR}/counts")
    target_compile_options(gw_options INTERFACE "${counts}" ${profile_flags})
    target_link_options(gw_options INTERFACE "${counts}")
elseif(FOURWAYS_PROFILE STREQUAL "use" AND CMAKE_BUILD_TYPE STREQUAL "Release" AND EXISTS "${profile}")
    find_program(PROFDATA llvm-profdata-19)
    if(PROFDATA)
        # Its name changes with it, so that everything is compiled anew: the linker takes no two profiles.
        file(SHA256 "${profile}" its_digest)
        string(SUBSTRING "${its_digest}" 0 12 its_digest)
        set(read_profile "${CMAKE_BINARY_DIR}/fourways-${its_digest}.profdata")
        execute_process(COMMAND "${PROFDATA}" merge -o "${read_profile}" "${profile}" RESULT_VARIABLE failed)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${profile}")
    endif()
    if(PROFDATA AND failed EQUAL 0)
        target_compile_options(gw_options INTERFACE "-fprofile-use=${read_profile}" ${profile_flags})
        if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64") # what never runs is put elsewhere, within functions too
            target_compile_options(gw_options INTERFACE -fsplit-machine-functions)
            target_link_options(gw_options INTERFACE -fsplit-machine-functions)
        endif()
        target_compile_options(gw_options INTERFACE -Wno-backend-plugin) # tells of each function that changed
    else()
        message(WARNING "built without a profile: it needs llvm-profdata-19 (Debian: llvm-19) and ${profile}")
    endif()
endif()
