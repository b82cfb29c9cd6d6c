# Everything comes from Debian 12's or 13's own packages (scripts/build installs them).
find_package(Boost 1.81 REQUIRED COMPONENTS system url)
find_package(OpenSSL 3.0 REQUIRED)
find_package(simdjson REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Threads REQUIRED)
if(NOT TARGET yaml-cpp::yaml-cpp)  # 0.7 names its target without the namespace
    add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()
if(BUILD_TESTING)
    find_package(GTest REQUIRED)
endif()
