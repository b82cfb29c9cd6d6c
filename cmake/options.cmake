set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(FOURWAYS_WARNINGS_AS_ERRORS "Warnings are errors (our presets set it)" OFF)
option(FOURWAYS_PARSERS_ONLY "Only the libraries without Asio (the fuzz preset)" OFF)
set(FOURWAYS_SANITIZE "" CACHE STRING "Value of -fsanitize=, for example address,undefined")

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE}")
endif()

add_library(gw_options INTERFACE)
target_include_directories(gw_options INTERFACE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/gateway")
target_compile_options(gw_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast
    -Wno-missing-designated-field-initializers  # every field has a default: that is what designated initializers are for
    -fstack-protector-strong
    $<$<BOOL:${FOURWAYS_WARNINGS_AS_ERRORS}>:-Werror>
    $<$<CONFIG:Debug>:-D_GLIBCXX_ASSERTIONS>)
if(FOURWAYS_SANITIZE)
    target_compile_options(gw_options INTERFACE -fsanitize=${FOURWAYS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(gw_options INTERFACE -fsanitize=${FOURWAYS_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    find_program(LLD ld.lld-19 ld.lld)
    if(LLD)
        target_link_options(gw_options INTERFACE "--ld-path=${LLD}")
        # Calls across files are half of a small request: let the linker see them all.
        target_compile_options(gw_options INTERFACE $<$<CONFIG:Release>:-flto=thin>)
        target_link_options(gw_options INTERFACE $<$<CONFIG:Release>:-flto=thin>)
    endif()
    include(cmake/profile.cmake)
endif()
