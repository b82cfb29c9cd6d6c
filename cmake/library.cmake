# gw_library(NAME SOURCES a.cpp ... LINKS gw_message ...): the static library of one folder.
function(gw_library name)
    cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
    add_library(${name} STATIC ${arg_SOURCES})
    target_link_libraries(${name} PUBLIC gw_options ${arg_LINKS})
endfunction()

# gw_unit_test(NAME SOURCES a_test.cpp ... LINKS gw_wire ...): one test program, one ctest entry.
function(gw_unit_test name)
    cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE gw_options ${arg_LINKS} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name} PRIVATE "GW_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
    add_test(NAME ${name} COMMAND ${name})
endfunction()
