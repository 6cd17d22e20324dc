CREATE DATABASE IF NOT EXISTS milvus CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'milvus'@'%' IDENTIFIED WITH mysql_native_password BY '5dfad6daf746926b3c51ffed';
GRANT ALL ON milvus.* TO 'milvus'@'%';
ALTER USER 'root'@'localhost' IDENTIFIED BY 'f39c35e2b688be9861d9fd03';
